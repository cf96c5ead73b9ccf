"""The stationary Gaussian posterior against dense matrices and against its own draws."""

import math

import pytest
import torch

from course_lib.exact import power_law, stationary_posterior
from course_lib.fourier import spectral_mean
from course_lib.rng import generator_from, normal_like

SIZE, SIGMA = (1, 7, 6), 0.1


@pytest.fixture
def world():
    return power_law(SIZE, mean=0.0)


@pytest.fixture
def spectrum(world):
    """S = E |F x|^2 of the unnormalised transform, (1, 1, H, W // 2 + 1)."""
    return (world.spectrum * math.prod(SIZE))[None, None]


@pytest.fixture
def y():
    y = torch.randn(2, *SIZE, generator=generator_from(1), dtype=torch.float64)
    return y - y.mean((1, 2, 3), keepdim=True)


def test_mean_is_that_of_the_exact_world(world, spectrum, y):
    torch.testing.assert_close(stationary_posterior(y, SIGMA, spectrum).mean, world(y, SIGMA))


def test_brightness_comes_from_the_measurement(spectrum, y):
    moved = stationary_posterior(y + 0.4, SIGMA, spectrum).mean
    torch.testing.assert_close(moved, stationary_posterior(y, SIGMA, spectrum).mean + 0.4)


def test_deviations_have_the_dense_posterior_covariance(world, spectrum, y):
    """(C^-1 + I / sigma^2)^-1, entry by entry, from 20 000 draws."""
    n = math.prod(SIZE)
    posterior = stationary_posterior(y, SIGMA, spectrum)
    draws = posterior.deviations(20_000, generator_from(2))[:, 0].flatten(1)
    unit = torch.eye(n, dtype=torch.float64).view(n, *SIZE)
    prior = torch.stack([row.flatten() for row in _covariance(world, unit)])
    exact = torch.linalg.inv(torch.linalg.inv(prior) + torch.eye(n).double() / SIGMA**2)
    # The standard error of a covariance is at most sqrt(2 / 20 000) of the largest variance.
    assert (draws.T @ draws / len(draws) - exact).abs().max() < 5 * 0.01 * exact.diagonal().max()
    assert posterior.deviations(1, generator_from(2)).shape == (1, 1, *SIZE)


def _covariance(world, x):
    spectrum = world.spectrum
    return torch.fft.irfft2(spectrum * torch.fft.rfft2(x), s=x.shape[-2:])


def test_stretching_ends_at_the_spectrum_of_images(spectrum):
    """Over many measurements, the stretched mean has the spectrum S; the mean has S - V."""
    eps = normal_like(torch.empty(4000, *SIZE).double(), generator_from(3))
    noise = normal_like(eps, generator_from(4))
    x = torch.fft.irfft2((spectrum / math.prod(SIZE)).sqrt() * torch.fft.rfft2(eps), s=SIZE[1:])
    posterior = stationary_posterior(x + SIGMA * noise, SIGMA, spectrum)
    for share, expected in ((0.0, spectrum - posterior.variance), (1.0, spectrum)):
        found = torch.fft.rfft2(posterior.stretched(share)).abs().square().mean(0)
        ratio = (found / expected)[0, 0].flatten()[1:]  # the mean is not stretched
        # 4000 squares of a mode, real ones with relative deviation sqrt(2 / 4000) = 2 %.
        assert (ratio - 1).abs().max() < 0.1
    assert torch.equal(posterior.stretched(0.0), posterior.stretched(0))
    half = posterior.stretched(0.5)
    torch.testing.assert_close(half, (posterior.stretched(0.0) + posterior.stretched(1.0)) / 2)


def test_expected_error_is_the_mean_variance(spectrum, y):
    """E |x - mean|^2 / n, from draws, and from V over the full grid."""
    posterior = stationary_posterior(y, SIGMA, spectrum)
    draws = posterior.deviations(4000, generator_from(5))
    expected = spectral_mean(posterior.variance[0, 0], SIZE[1:]) / math.prod(SIZE)
    assert draws.square().mean().item() == pytest.approx(expected.item(), rel=0.02)
