"""A stationary Gaussian against dense matrices."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from course_lib.exact import StationaryGaussian, power_law

IMG_SIZE = (1, 4, 5)


def covariance(world, sigma=0.0):
    """The dense C + sigma^2 I: its columns are images of unit vectors."""
    n = math.prod(IMG_SIZE)
    unit = torch.eye(n, dtype=torch.float64).view(n, *IMG_SIZE)
    gain = world.spectrum + sigma**2
    return torch.fft.irfft2(torch.fft.rfft2(unit) * gain, s=IMG_SIZE[1:]).view(n, n)


@pytest.fixture
def world():
    return power_law(IMG_SIZE, std=0.2, mean=0.4)


@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_gaussian_density(world, sigma, generator):
    x = torch.rand(3, *IMG_SIZE, generator=generator, dtype=torch.float64)
    mean = torch.full((20,), 0.4, dtype=torch.float64)
    dense = MultivariateNormal(mean, covariance(world, sigma))
    expected = -dense.log_prob(x.flatten(1))
    torch.testing.assert_close(world.potential(x, sigma), expected, rtol=1e-10, atol=1e-10)


def test_gaussian_denoiser(world, generator):
    """C (C + sigma^2)^-1 by a dense solve; one noise level for each image."""
    x = torch.rand(2, *IMG_SIZE, generator=generator, dtype=torch.float64)
    sigma = torch.tensor([0.1, 0.9], dtype=torch.float64)
    C, unit = covariance(world), torch.eye(20, dtype=torch.float64)
    for k in range(2):
        gain = C @ torch.linalg.inv(C + sigma[k] ** 2 * unit)
        expected = 0.4 + (gain @ (x[k].flatten() - 0.4)).view(IMG_SIZE)
        torch.testing.assert_close(world(x, sigma)[k], expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(world(x, 0.1)[0], world(x, sigma)[0])
    both = torch.stack([world.potential(x[k : k + 1], sigma[k])[0] for k in range(2)])
    torch.testing.assert_close(world.potential(x, sigma), both)


def test_power_law_is_flat_below_its_knee():
    """S (knee^2 + |f|^2) is one number, at frequencies counted by hand."""
    height, width, knee = 6, 5, 0.2
    S = power_law((1, height, width), knee=knee).spectrum
    rows = torch.tensor([0, 1, 2, 3, -2, -1], dtype=torch.float64)[:, None] / height
    columns = torch.tensor([0, 1, 2], dtype=torch.float64) / width
    product = S * (knee**2 + rows**2 + columns**2)
    torch.testing.assert_close(product, product[:1, :1].expand(6, 3), rtol=1e-12, atol=0)


def test_power_law_has_the_asked_deviation(generator):
    world = power_law((3, 16, 12), std=0.2, mean=0.5)
    x = world.sample(2000, generator=generator)
    assert x.shape == (2000, 3, 16, 12)
    # Pixels are strongly correlated: the mean of an image is one draw of std 0.1.
    assert x.std().item() == pytest.approx(0.2, rel=0.02)
    noisy = world.sample(2000, generator=generator, sigma=0.3)
    assert noisy.std().item() == pytest.approx(math.hypot(0.2, 0.3), rel=0.02)
    assert world.spectrum[0, 0] == world.spectrum.max()


def test_wrong_spectra_are_refused():
    with pytest.raises(ValueError, match=r"expected a spectrum of shape \(4, 3\)"):
        StationaryGaussian(torch.ones(4, 4).double(), IMG_SIZE)
    with pytest.raises(ValueError, match="all positive"):
        StationaryGaussian(torch.zeros(4, 3).double(), IMG_SIZE)
