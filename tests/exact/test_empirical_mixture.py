"""A mixture at given images against what defines it."""

import math

import pytest
import torch

from course_lib.exact import EmpiricalMixture
from course_lib.rng import generator_from, normal_like

IMG_SIZE = (1, 4, 5)


@pytest.fixture
def mixture(generator):
    return EmpiricalMixture(torch.rand(5, *IMG_SIZE, generator=generator, dtype=torch.float64))


def test_mixture_density_and_denoiser(mixture, generator):
    """The sum of Gaussians written out, and Tweedie's formula by automatic differentiation."""
    x = torch.rand(3, *IMG_SIZE, generator=generator, dtype=torch.float64).requires_grad_()
    sigma = 0.4
    squares = (x[:, None] - mixture.centres).flatten(2).square().sum(2)
    density = (-squares / (2 * sigma**2)).exp().mean(1) / (2 * math.pi * sigma**2) ** 10
    nats = mixture.potential(x, sigma)
    torch.testing.assert_close(nats, -density.log(), rtol=1e-10, atol=0)
    (slope,) = torch.autograd.grad(nats.sum(), x)
    torch.testing.assert_close(mixture(x, sigma), x - sigma**2 * slope, rtol=1e-10, atol=1e-12)


def test_mixture_far_away_and_near(mixture):
    """No overflow: at tiny noise levels the nearest centre is the answer."""
    x = mixture.centres[:1] + 1e-3
    levels = torch.tensor([1e-4], dtype=torch.float64)
    torch.testing.assert_close(mixture(x, levels), mixture.centres[:1])
    assert mixture.potential(x, levels).isfinite().all()


def test_mixture_denoiser_is_the_conditional_mean(mixture):
    """Averaging x_0 over draws whose noisy version is near x, by importance weights."""
    sigma, x = 0.5, mixture.centres[:1] + 0.2
    pool = mixture.sample(20_000, generator=generator_from(1))
    weights = (-(x - pool).flatten(1).square().sum(1) / (2 * sigma**2)).softmax(0)
    estimate = (weights[:, None] * pool.flatten(1)).sum(0).view_as(x)
    # 20 000 draws of 5 images: frequencies to 1 / sqrt(4000) = 0.016
    torch.testing.assert_close(mixture(x, sigma), estimate, rtol=0, atol=0.05)
    noise = normal_like(pool, generator_from(2))
    torch.testing.assert_close(
        mixture.sample(2000, generator=generator_from(1), sigma=0.5).std(),
        (pool + sigma * noise).std(),
        rtol=0.02,
        atol=0,
    )
