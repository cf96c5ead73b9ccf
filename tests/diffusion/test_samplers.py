"""Samplers in the Gaussian world, where each mode of the flow is known at every noise level."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch

from course_lib.diffusion import (
    EDM,
    VariancePreserving,
    euler,
    heun,
    noise_levels,
    reverse_sde,
    sample,
    stochastic_heun,
)
from course_lib.exact import EmpiricalMixture, StationaryGaussian, power_law
from course_lib.fourier import filter_image
from course_lib.rng import generator_from

IMG_SIZE = (1, 8, 8)


@pytest.fixture
def world():
    return power_law(IMG_SIZE, std=0.3, mean=0.4)


def exact_flow(world, x, start, end):
    """x - mean scales by sqrt((S + end^2) / (S + start^2)) in each mode."""
    gain = ((world.spectrum + end**2) / (world.spectrum + start**2)).sqrt()
    return world.mean + filter_image(x - world.mean, gain)


def white(std):
    """All modes alike: N(0, std^2 I)."""
    spectrum = torch.full((8, 5), std**2, dtype=torch.float64)
    return StationaryGaussian(spectrum, IMG_SIZE, mean=0.0)


def test_noise_levels_are_the_published_ones():
    """The formula of EDM at its own range: 80, ..., 0.002, then 0."""
    levels = noise_levels(18, 80.0, 0.002)
    assert len(levels) == 19
    assert levels[0] == pytest.approx(80, rel=1e-12)
    assert levels[-2] == pytest.approx(0.002, rel=1e-12)
    assert levels[-1] == 0
    i = 5
    expected = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert levels[i] == pytest.approx(expected, rel=1e-12)


def test_heun_reproduces_known_errors():
    """sigma_d = 0.5, x = 80 at sigma = 80: errors at 0 known for N = 10, 18, 36, 72, 144.

    The values were computed apart from this library (exact end point 0.49999).
    """
    world = white(0.5)
    x = torch.full((1, *IMG_SIZE), 80.0, dtype=torch.float64)
    exact = 80 * 0.5 / math.sqrt(0.25 + 80**2)
    for n, known in ((10, 0.110), (18, 0.0276), (36, 0.0061), (72, 0.00144), (144, 0.00035)):
        found = heun(world, x, noise_levels(n, 80.0, 0.002))
        error = (found - exact).abs().max().item()
        assert error == pytest.approx(known, rel=0.02)  # they are given to two or three digits


@pytest.mark.parametrize(("sampler", "order"), [(euler, 1), (heun, 2)])
@pytest.mark.parametrize("upward", [False, True])
def test_order_of_accuracy(sampler, order, upward, world, generator):
    """Halving the steps divides the error by 2^order, downwards and upwards in noise."""
    high, low = 5.0, 0.05
    start, end = (low, high) if upward else (high, low)
    x = world.sample(4, generator=generator, sigma=start)
    exact = exact_flow(world, x, start, end)
    errors = []
    for n in (64, 128, 256):
        levels = noise_levels(n + 1, high, low)[:-1]
        levels = levels[::-1] if upward else levels
        levels = [start, *levels[1:-1], end]
        errors.append((sampler(world, x, levels) - exact).norm().item())
    slopes = [math.log2(a / b) for a, b in pairwise(errors)]
    # asymptotic only: 0.15 covers the next order of the expansion at these step sizes
    assert slopes[-1] == pytest.approx(order, abs=0.15)


def spectrum_of(x, world):
    """Mean squared modulus of each mode, in units of the exact spectrum."""
    modes = torch.fft.rfft2(x - world.mean, norm="ortho").abs().square()
    return modes.mean((0, 1)) / world.spectrum


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["heun", "churn", "reverse"])
def test_samples_have_the_right_law(kind, world):
    """The variances of all modes, within sampling error."""
    n = 4000
    if kind == "reverse":
        schedule = VariancePreserving()
        times = torch.linspace(1.0, 1e-4, 400).tolist()
        start = torch.randn(n, *IMG_SIZE, generator=generator_from(1)).double()
        x = reverse_sde(world, start, schedule, times, generator=generator_from(2))
        slack = 0.08  # Euler-Maruyama's own error at 400 steps, about 2 %, comes on top
    else:
        sampler = heun if kind == "heun" else partial(stochastic_heun, generator=generator_from(2))
        levels, shape = noise_levels(60), (n, *IMG_SIZE)
        x = sample(world, shape, levels, generator=generator_from(1), sampler=sampler)
        slack = 0.0
    ratio = spectrum_of(x, world)
    # A variance from n draws of a complex mode has relative error 1 / sqrt(n), of a real one
    # sqrt(2 / n) = 0.022: 4.5 of these, for the largest of 40.
    assert (ratio - 1).abs().max() < 0.1 + slack
    assert (x.mean((0, 1)) - world.mean).abs().max() < 4.5 * 0.3 / math.sqrt(n) + 0.005


def test_without_churn_the_stochastic_sampler_is_heun(world, generator):
    x = world.sample(2, generator=generator, sigma=3.0)
    levels = noise_levels(12, 3.0)
    calm = stochastic_heun(world, x, levels, generator=generator, churn=0.0)
    torch.testing.assert_close(calm, heun(world, x, levels), rtol=0, atol=0)


def test_churn_in_closed_form(generator):
    """For a constant denoiser c every step of Heun is exact, x -> c + (x - c) sigma' / sigma.

    So a step with churn is x -> c + (x + S sqrt(raised^2 - sigma^2) e - c) sigma' / raised, with
    raised = sigma (1 + min(churn / n, sqrt(2) - 1)) at levels within the range, sigma outside it.
    """
    levels, c, scale = [30.0, 10.0, 3.0, 0.5, 0.01, 0.0], 0.3, 1.007
    x = torch.randn(2, *IMG_SIZE, generator=generator, dtype=torch.float64)
    for churn, gamma in ((1.0, 1 / 5), (40.0, math.sqrt(2) - 1)):
        found = stochastic_heun(
            lambda x, sigma: torch.full_like(x, c),
            x,
            levels,
            generator=generator_from(7),
            churn=churn,
            churn_range=(0.5, 10.0),  # both ends belong to it
            noise_scale=scale,
        )
        # Without the last step, to level 0, which gives c whatever came before.
        before = stochastic_heun(
            lambda x, sigma: torch.full_like(x, c),
            x,
            levels[:-1],
            generator=generator_from(7),
            churn=churn * 4 / 5,  # the same gamma in 4 steps
            churn_range=(0.5, 10.0),
            noise_scale=scale,
        )
        eps, expected = generator_from(7), x
        for now, then in pairwise(levels[:-1]):
            raised = now * (1 + gamma) if 0.5 <= now <= 10 else now
            if raised > now:
                added = torch.randn(x.shape, generator=eps, dtype=torch.float64)
                expected = expected + scale * math.sqrt(raised**2 - now**2) * added
            expected = c + (expected - c) * then / raised
        torch.testing.assert_close(before, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found, torch.full_like(x, c), rtol=0, atol=1e-12)


def test_an_empirical_mixture_only_draws_its_images(generator):
    centres = torch.rand(5, 1, 4, 4, generator=generator)
    x = sample(EmpiricalMixture(centres), (12, 1, 4, 4), noise_levels(40), generator=generator)
    distances = (x[:, None] - centres).flatten(2).norm(dim=2).amin(1)
    assert distances.max() < 0.01  # sigma_min = 0.001, times sqrt(16) pixels, and rounding


def test_a_reverse_step_in_closed_form(generator):
    """Ito: f, g and the score where the step starts; for a constant denoiser, with VP's formulas.

    At t: beta = 0.1 + 19.9 t, B its integral, f = -beta / 2, g^2 = beta, and the score of a point
    mass at c is -(x - exp(-B / 2) c) / (1 - exp(-B)).
    """
    c, times = 0.3, [0.9, 0.6, 0.2]
    x = torch.randn(2, *IMG_SIZE, generator=generator, dtype=torch.float64)
    found = reverse_sde(
        lambda x, sigma: torch.full_like(x, c),
        x,
        VariancePreserving(),
        times,
        generator=generator_from(7),
    )
    eps, expected = generator_from(7), x
    for now, then in pairwise(times):
        beta, B = 0.1 + 19.9 * now, 0.1 * now + 19.9 * now**2 / 2
        score = (math.exp(-B / 2) * c - expected) / (1 - math.exp(-B))
        noise = torch.randn(x.shape, generator=eps, dtype=torch.float64)
        change = (then - now) * (-beta / 2 * expected - beta * score)
        expected = expected + change + math.sqrt(beta * (now - then)) * noise
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
def test_reverse_sde_in_time_equal_to_noise_level(world):
    """EDM's equation as well: variances after 300 steps that are uniform in log sigma."""
    n, schedule = 2000, EDM()
    times = torch.logspace(math.log10(20.0), -2.5, 300).tolist()
    start = world.mean + 20 * torch.randn(n, *IMG_SIZE, generator=generator_from(3)).double()
    x = reverse_sde(world, start, schedule, times, generator=generator_from(4))
    assert (spectrum_of(x, world) - 1).abs().max() < 0.2  # 4.5 sqrt(2 / n) and 4 % of the steps


def test_bad_levels_are_refused():
    with pytest.raises(ValueError, match="0 < sigma_min < sigma_max"):
        noise_levels(10, 0.01, 1.0)
