"""Differences of potentials under common noise and probes, in a world where they are exact."""

import pytest
import torch

from course_lib.diffusion import CommonNoisePotential, Hutchinson, potential, rademacher
from course_lib.exact import power_law
from course_lib.rng import generator_from, normal_like

IMG_SIZE, SIGMA = (1, 8, 8), 0.05


@pytest.fixture
def q():
    x = torch.empty(3, *IMG_SIZE, dtype=torch.float64)
    noise = SIGMA * normal_like(x, generator_from(0))
    probes = rademacher(tuple(x.shape), 1, generator=generator_from(1)).double()
    return CommonNoisePotential(power_law(IMG_SIZE), noise, Hutchinson(probes), SIGMA, n_steps=8)


@pytest.fixture
def x(generator):
    return torch.rand(3, *IMG_SIZE, generator=generator, dtype=torch.float64)


def test_it_is_the_potential_of_the_noisy_image(q, x):
    expected = potential(q.denoiser, x + q.noise, 8, q.trace, sigma_min=SIGMA)
    assert torch.equal(q(x), expected)
    assert torch.equal(q(x), q(x))


def test_differences_are_exact_though_values_are_not(q, x):
    """The denoiser is linear: the trace, and with it the error of the probe, is that of any x."""
    blurred = (x + x.roll(1, -1)) / 2
    exact = q.denoiser.potential(blurred + q.noise, SIGMA) - q.denoiser.potential(
        x + q.noise, SIGMA
    )
    # 0.1 nats: the solver's error at 8 steps in 64 dimensions.
    torch.testing.assert_close(q(blurred) - q(x), exact, rtol=0, atol=0.1)
    assert (q(x) - q.denoiser.potential(x + q.noise, SIGMA)).abs().max() > 0.5
