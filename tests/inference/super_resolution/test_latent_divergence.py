"""The divergence that trains encoders, against Gaussian algebra."""

import math

import pytest
import torch

from course_lib.inference import (
    latent_divergence,
)
from course_lib.operators import bicubic_downsampling
from course_lib.rng import generator_from

MANY = 20_000


@pytest.mark.parametrize("k", [1, 2])
def test_at_best_the_divergence_is_the_information_that_y_lacks(linear, k, generator):
    """min E KL = I(z_<k; x | y) = (log det C(z | y) - log det C(z | x)) / 2, which is not zero."""
    x = linear.images(MANY, generator)
    nats = latent_divergence(
        linear.hvae, linear.encoder(k), x, linear.op.A(x), generator=generator
    ).sum(1)
    given_y = linear.covariance_given(4 * k, linear.matrix)
    given_x = linear.covariance_given(4 * k, torch.eye(64, dtype=torch.float64))
    information = (given_y.logdet() - given_x.logdet()) / 2
    assert (nats.mean() - information).abs() < 4 * nats.std() / MANY**0.5
    assert information > 0.5


def test_an_encoder_that_is_too_unsure_pays_for_it(linear, generator):
    """For standard deviations too large by r the price is log r + (1 / r^2 - 1) / 2 a latent."""
    x = linear.images(MANY, generator)
    prices = []
    for r in (1.0, 1.5):
        encoder = linear.encoder(1)
        encoder.conditionals = [(gain, r * std) for gain, std in encoder.conditionals]
        found = latent_divergence(
            linear.hvae, encoder, x, linear.op.A(x), generator=generator_from(1)
        )
        prices.append(found.sum(1))
    extra = prices[1] - prices[0]
    expected = 4 * (math.log(1.5) + (1 / 1.5**2 - 1) / 2)
    assert (extra.mean() - expected).abs() < 4 * extra.std() / MANY**0.5


def test_the_mean_form_weighs_groups_by_their_size(linear, generator):
    x = linear.images(10, generator)
    args = linear.hvae, linear.encoder(2), x, linear.op.A(x)
    total = latent_divergence(*args, generator=generator_from(1))
    mean = latent_divergence(*args, generator=generator_from(1), reduction="mean")
    assert torch.allclose(total / 4, mean, rtol=1e-12)


def test_gradients_reach_the_encoder_of_measurements_only(small, generator):
    hvae, encoder = small
    hvae.requires_grad_(True)
    x = torch.rand(2, 1, 16, 16, generator=generator)
    y = bicubic_downsampling(hvae.img_size, 4).A(x)
    latent_divergence(hvae, encoder, x, y, generator=generator).sum().backward()
    assert all(p.grad is None for p in hvae.parameters())
    assert all(p.grad is not None for p in encoder.parameters())
