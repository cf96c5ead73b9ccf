"""Sums over a grid against linear algebra and against weighted draws."""

import pytest
import torch

from course_lib.exact import LinearGaussian, grid_posterior
from course_lib.rng import generator_from


def fold(z):
    """Two pixels from one latent, (sin 2 z, z^2 / 2), with correlated noise that grows with z."""
    mean = torch.cat([torch.sin(2 * z), z.square() / 2], dim=1)
    covariance = torch.tensor([[0.05, 0.02], [0.02, 0.08]], dtype=z.dtype)
    return mean, covariance * (1 + z.square())[:, :, None]


FOLD_A = torch.tensor([[1.0, 0.5]], dtype=torch.float64)


@pytest.mark.parametrize("k", [1, 2])
def test_grid_of_a_linear_decoder(k):
    g = generator_from(1)
    W, A = (torch.randn(*s, generator=g, dtype=torch.float64) for s in ((3, k), (2, 3)))
    c, y = torch.ones(3).double(), torch.randn(5, 2, generator=g, dtype=torch.float64)
    model = LinearGaussian(W, c, 3 * torch.eye(3).double(), A, 0.5)
    spread = torch.eye(3).double() / 9
    found = grid_posterior(
        lambda z: (z @ W.T + c, spread.expand(len(z), 3, 3)),
        A,
        y,
        sigma=0.5,
        latent_dim=k,
        points=161,
    )
    exact = model.posterior(y)
    # Sums of a Gaussian with step h err by exp(-2 pi^2 (std / h)^2), here below rounding.
    near = {"rtol": 0, "atol": 1e-10}
    torch.testing.assert_close(found.log_evidence, model.log_evidence(y), **near)
    torch.testing.assert_close(found.z_mean, exact.z.mean, **near)
    torch.testing.assert_close(found.x_mean, exact.x.mean, **near)
    for b in range(5):
        torch.testing.assert_close(found.z_covariance[b], exact.z.covariance, **near)
        torch.testing.assert_close(found.x_covariance[b], exact.x.covariance, **near)
    torch.testing.assert_close(found.weights.sum(1), torch.ones(5).double())
    assert found.z.shape == (161**k, k)


def test_grid_of_a_bent_decoder_against_weighted_draws():
    """Draws of (z, x) from the prior, weighted by p(y | x): no formula of the grid is used."""
    n, sigma = 400_000, 0.3
    g = generator_from(2)
    z = torch.randn(n, 1, generator=g, dtype=torch.float64)
    mean, covariance = fold(z)
    noise = torch.randn(n, 2, 1, generator=g, dtype=torch.float64)
    x = mean + (torch.linalg.cholesky(covariance) @ noise).squeeze(2)
    y = torch.tensor([[0.4], [1.5]], dtype=torch.float64)
    log_weights = -(x @ FOLD_A.T - y.T).square() / (2 * sigma**2)
    weights = log_weights.softmax(0).T
    found = grid_posterior(fold, FOLD_A, y, sigma=sigma)
    zx = torch.cat([z, x], 1)
    exact = torch.cat([found.z_mean, found.x_mean], 1)
    variances = torch.cat(
        [found.z_covariance[:, 0], found.x_covariance.diagonal(dim1=1, dim2=2)], dim=1
    )
    # 4 standard errors, std / sqrt(effective draws), the latter above 10^4
    draws = 1 / weights.square().sum(1, keepdim=True)
    assert draws.min() > 1e4
    assert ((weights @ zx - exact).abs() < 4 * (variances / draws).sqrt()).all()
    second = weights @ zx.square() - (weights @ zx).square()
    torch.testing.assert_close(second, variances, rtol=0.05, atol=0)
    constant = -torch.tensor(2 * torch.pi * sigma**2).log() / 2
    evidence = log_weights.exp().mean(0).log() + constant
    torch.testing.assert_close(evidence, found.log_evidence, rtol=0, atol=0.02)


def test_grid_of_a_decoder_without_noise():
    """Covariance zero: x = G(z), so the moments of x are those of G under the weights."""

    def curve(z):
        return fold(z)[0], torch.zeros(len(z), 2, 2, dtype=z.dtype)

    found = grid_posterior(curve, FOLD_A, torch.tensor([[0.4]]).double(), sigma=0.2)
    mean = found.weights @ curve(found.z)[0]
    torch.testing.assert_close(found.x_mean, mean, rtol=1e-12, atol=0)
    assert torch.linalg.det(found.x_covariance) > 0  # a curve, not a line


def test_grid_bad_input():
    y = torch.tensor([[0.4]]).double()
    with pytest.raises(ValueError, match=r"log p\(y\) changes by .* take more points"):
        grid_posterior(fold, FOLD_A, y, sigma=0.2, points=15)
    with pytest.raises(ValueError, match=r"an odd number of points, got 1 and 20"):
        grid_posterior(fold, FOLD_A, y, sigma=0.2, points=20)
    with pytest.raises(ValueError, match=r"latent_dim 1 or 2"):
        grid_posterior(fold, FOLD_A, y, sigma=0.2, latent_dim=3)
    with pytest.raises(ValueError, match=r"sigma must be positive, got 0"):
        grid_posterior(fold, FOLD_A, y, sigma=0.0)
