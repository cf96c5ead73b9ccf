"""Samples given a measurement, against the Gaussian posterior."""

import pytest
import torch
from helpers import assert_batch_independent

from course_lib.inference import (
    expected_consistency,
    super_resolve,
)
from course_lib.operators import bicubic_downsampling
from course_lib.rng import generator_from


def test_an_encoder_that_is_too_unsure_is_less_consistent(linear, generator):
    x = linear.images(2000, generator)
    y = linear.op.A(x)
    found = []
    for r in (1.0, 1.5):
        encoder = linear.encoder(2)
        encoder.conditionals = [(gain, r * std) for gain, std in encoder.conditionals]
        samples = super_resolve(
            linear.hvae, encoder, y, 1, consistent=False, generator=generator_from(0)
        )
        found.append(expected_consistency(linear.op, samples, y))
    assert found[1] > 1.2 * found[0]


def test_draws_many_consistent_images_for_each_measurement(small, generator):
    hvae, encoder = small
    y = torch.rand(2, 1, 4, 4, generator=generator)
    x = super_resolve(hvae, encoder, y, 3, 0.8, generator=generator)
    assert x.shape == (3, 2, 1, 16, 16)
    op = bicubic_downsampling(hvae.img_size, 4)
    assert (op.A(x) - y).abs().max() < 1e-5
    free = super_resolve(hvae, encoder, y, 3, 0.8, False, generator=generator_from(0))
    assert (op.A(free) - y).abs().max() > 0.01


def test_temperature_acts_on_the_groups_from_k_on(small):
    """The groups that y tells are drawn as they are: samples differ at temperature 0 too."""
    hvae, encoder = small
    y = torch.full((1, 1, 4, 4), 0.5)
    cold = super_resolve(hvae, encoder, y, 50, 0.0, False, generator=generator_from(0))
    warm = super_resolve(hvae, encoder, y, 50, 1.0, False, generator=generator_from(0))
    assert 0 < cold.var(0).sum() < warm.var(0).sum()


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.0), (1, 0.7), (2, 1.0)])
def test_samples_have_the_posterior_mean_and_covariance_of_their_own_measurement(
    linear, k, temperature
):
    """z_<k ~ N(G y, C), z_l | z_<l as in the prior with its standard deviation scaled."""
    n, y = 20_000, linear.op.A(linear.images(3, generator_from(1)))
    x = super_resolve(
        linear.hvae, linear.encoder(k), y, n, temperature, False, generator=generator_from(2)
    ).flatten(2)
    gain, _ = linear.gain(4 * k, linear.matrix)
    first, second = linear.synthesis.split(4, 1)
    decode = linear.synthesis if k == 2 else first + 0.5 * second  # E[z_2 | z_1] = z_1 / 2
    cov = decode @ linear.covariance_given(4 * k, linear.matrix) @ decode.T
    if k == 1:
        cov = cov + temperature**2 * (1 - 0.5**2) * second @ second.T
    mean = y.flatten(1) @ (decode @ gain).T
    assert (mean[0] - mean[1]).norm() > 0.3  # the measurements differ
    spread = cov.diagonal().max().sqrt()
    # 64 pixels of 3 measurements: 5 standard errors of a mean, and of a covariance.
    assert (x.mean(0) - mean).abs().max() < 5 * spread / n**0.5
    centred = x - mean
    found = torch.einsum("nbi,nbj->bij", centred, centred) / n
    assert (found - cov).abs().max() < 5 * 2**0.5 * spread**2 / n**0.5


@pytest.mark.parametrize("consistent", [True, False])
def test_a_measurement_is_answered_as_if_it_were_alone(linear, consistent):
    """Without spread the samples are a function of the measurement: no row is taken for another."""
    encoder = linear.encoder(1)
    encoder.conditionals = [(gain, 1e-30 * std) for gain, std in encoder.conditionals]

    def answer(y):
        g = generator_from(0)
        x = super_resolve(linear.hvae, encoder, y, 3, 0.0, consistent, op=linear.op, generator=g)
        return x.movedim(0, 1)

    assert_batch_independent(answer, linear.op.A(linear.images(3, generator_from(1))), atol=1e-12)


def test_the_generator_decides_everything(small):
    y = torch.full((1, 1, 4, 4), 0.5)
    first, again, other = (
        super_resolve(*small, y, 2, generator=generator_from(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("error", "message", "args", "options"),
    [
        (ValueError, r"expected measurements \(B, 1, 4, 4\)", (torch.zeros(1, 1, 8, 8), 1), {}),
        (ValueError, "n_samples >= 1, got 0", (torch.zeros(1, 1, 4, 4), 0), {}),
        (ValueError, "temperature must be 0 or more", (torch.zeros(1, 1, 4, 4), 1, -0.5), {}),
        (TypeError, "generator", (torch.zeros(1, 1, 4, 4), 1), {"generator": None}),
    ],
)
def test_errors(small, error, message, args, options):
    with pytest.raises(error, match=message):
        super_resolve(*small, *args, **{"generator": generator_from(0)} | options)
