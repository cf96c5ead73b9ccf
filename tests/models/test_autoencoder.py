"""Principal components are the best linear autoencoder; the convolutional one keeps its word."""

import pytest
import torch
from torch import nn

from course_lib.models import DenoisingAutoencoder, LinearAutoencoder
from course_lib.rng import generator_from


@pytest.fixture
def images():
    draws = torch.randn(300, 12, dtype=torch.float64, generator=generator_from(0))
    mixing = torch.randn(12, 12, dtype=torch.float64, generator=generator_from(1))
    return (draws @ mixing).view(-1, 1, 3, 4)


@pytest.mark.parametrize("k", [1, 4, 11])
def test_residual_of_principal_components(images, k):
    """Mean squared residual = the sum of the eigenvalues that are left out."""
    model = LinearAutoencoder.principal_components(images, k)
    residual = (model(images) - images).flatten(1).pow(2).sum(1).mean()
    eigenvalues = torch.linalg.eigvalsh(images.flatten(1).T.cov(correction=0)).flip(0)
    torch.testing.assert_close(residual, eigenvalues[k:].sum(), rtol=1e-10, atol=1e-10)


def test_principal_components_project(images):
    """Applying them twice changes nothing: rounding of sums of 12 terms of size 10."""
    model = LinearAutoencoder.principal_components(images, 4)
    once = model(images)
    torch.testing.assert_close(model(once), once, rtol=0, atol=1e-12)


def test_training_reaches_principal_components(images):
    """Gradient descent on the squared error gets there too, to a millionth of the energy."""
    best = LinearAutoencoder.principal_components(images, 3)
    target = (best(images) - images).pow(2).mean()
    torch.manual_seed(0)
    model = LinearAutoencoder(12, 3).double()
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=500, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = (model(images) - images).pow(2).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        reached = (model(images) - images).pow(2).mean()
    assert target - 1e-12 <= reached <= target + 1e-6 * images.pow(2).mean()


def test_too_many_components(images):
    with pytest.raises(ValueError, match=r"1 <= latent_dim <= 12"):
        LinearAutoencoder.principal_components(images, 13)


@pytest.mark.parametrize("skips", [True, False])
def test_denoising_autoencoder(skips):
    model = DenoisingAutoencoder(channels=[4, 6], blocks=1, skips=skips)
    x = torch.rand(2, 1, 24, 16, generator=generator_from(0))
    with torch.no_grad():
        assert model(x).shape == x.shape
        assert (model(x) == model(x, torch.zeros_like(x))).all()  # no mask: nothing is lost
        assert (model(x) != model(x, torch.ones_like(x))).any()


def test_sizes_that_do_not_halve():
    model = DenoisingAutoencoder(channels=[4, 6], blocks=1)
    with pytest.raises(ValueError, match=r"multiples of 4, got 24 x 18.*Crop to 24 x 16"):
        model(torch.rand(1, 1, 24, 18))


def test_best_linear_denoiser_is_wiener(images):
    """Least squares from noisy to clean images, over many draws, meets C (C + s^2 I)^-1."""
    sigma, covariance = 0.8, images.flatten(1).T.cov(correction=0)
    wiener = covariance @ torch.linalg.inv(covariance + sigma**2 * torch.eye(12).double())
    clean = (images - images.mean(0)).flatten(1).repeat(300, 1)
    noise = torch.randn(clean.shape, generator=generator_from(2), dtype=clean.dtype)
    fitted = torch.linalg.lstsq(clean + sigma * noise, clean).solution.T
    assert (fitted - wiener).abs().max() < 0.02  # 90,000 draws: entries vary by about 0.004


@pytest.mark.parametrize("skips", [True, False])
def test_a_silent_network_keeps_the_image_or_answers_grey(skips):
    """With skips the output is x + change, without them 1/2 + change."""
    torch.manual_seed(0)
    model = DenoisingAutoencoder(channels=(4, 4), blocks=1, skips=skips)
    nn.init.zeros_(model.outputs[-1].weight)
    nn.init.constant_(model.outputs[-1].bias, 0.2)
    x = torch.rand(2, 1, 8, 8)
    start = x if skips else torch.full_like(x, 0.5)
    torch.testing.assert_close(model(x), start + 0.1)  # half of the last layer's output
