"""Four equations, one picture: each is checked against its own marginals and the Gaussian world."""

import math

import pytest
import torch
from torch.func import grad

from course_lib.diffusion import (
    EDM,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
    denoiser_from_noise,
    denoiser_from_score,
)
from course_lib.exact import power_law

SCHEDULES = [EDM(), VarianceExploding(), VariancePreserving(), SubVariancePreserving()]
IDS = ["edm", "ve", "vp", "sub-vp"]
IMG_SIZE = (1, 6, 8)


def times(schedule):
    """Early, middle and late, in double precision."""
    return [
        schedule.start + part * (schedule.horizon - schedule.start) for part in (0.01, 0.4, 0.95)
    ]


@pytest.fixture
def world():
    return power_law(IMG_SIZE, mean=0.0)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=IDS)
def test_drift_and_diffusion_are_those_of_the_marginals(schedule):
    """f = s' / s and g^2 = 2 s^2 sigma sigma', by automatic differentiation."""
    for t in times(schedule):
        t = torch.tensor(t, dtype=torch.float64)
        s, sigma = schedule.scale(t), schedule.sigma(t)
        f = grad(lambda t: schedule.scale(t).log())(t)
        squared = 2 * s.square() * sigma * grad(schedule.sigma)(t)
        torch.testing.assert_close(schedule.drift(t), f, rtol=1e-12, atol=1e-12)
        # expm1 and sinh of numbers up to 10: a few rounding errors
        torch.testing.assert_close(schedule.diffusion(t).square(), squared, rtol=1e-12, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=IDS)
def test_time_inverts_sigma(schedule):
    for t in times(schedule):
        assert schedule.time(schedule.sigma(t)).item() == pytest.approx(t, rel=1e-12)


def test_published_values():
    """VP at t = 1: mean coefficient 0.00657, standard deviation 0.99998."""
    vp, sub = VariancePreserving(), SubVariancePreserving()
    assert vp.scale(1.0).item() == pytest.approx(0.00657, abs=5e-6)
    assert (vp.scale(1.0) * vp.sigma(1.0)).item() == pytest.approx(0.99998, abs=5e-6)
    b = vp.integral(0.3).item()
    assert (sub.scale(0.3) * sub.sigma(0.3)).item() == pytest.approx(1 - math.exp(-b), rel=1e-12)
    ve = VarianceExploding()
    assert [ve.sigma(t).item() for t in (0, 1)] == pytest.approx([0.01, 348.0], rel=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=IDS)
def test_score_is_that_of_the_gaussian_world(schedule, world, generator):
    """p_t = N(0, s^2 (C + sigma^2)), whose potential autograd differentiates."""
    x = torch.randn(3, *IMG_SIZE, generator=generator, dtype=torch.float64)
    for t in times(schedule):
        s, sigma = schedule.scale(t), schedule.sigma(t)
        exact = -grad(lambda x, s=s, sigma=sigma: world.potential(x / s, sigma).sum())(x)
        # two Fourier transforms against their derivatives
        torch.testing.assert_close(schedule.score(world, x, t), exact, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=IDS)
def test_both_equations_carry_the_law(schedule, world):
    """The covariance of a mode moves as the flow and as the reverse equation say.

    A mode has the variance h = s^2 (S + sigma^2). The flow gives it the velocity v x, so that
    dh/dt = 2 v h. The reverse equation has the drift r x and, with dt < 0, adds g^2 |dt| of noise:
    dh/dt = 2 r h - g^2.
    """
    S = world.spectrum[1, 2]
    for t in times(schedule):
        t = torch.tensor(t, dtype=torch.float64)
        h = schedule.scale(t) ** 2 * (S + schedule.sigma(t) ** 2)
        rate = grad(lambda t: schedule.scale(t) ** 2 * (S + schedule.sigma(t) ** 2))(t)
        mode = torch.zeros(IMG_SIZE, dtype=torch.float64)
        rows = torch.arange(IMG_SIZE[1])[:, None] / IMG_SIZE[1]
        columns = torch.arange(IMG_SIZE[2])[None, :] / IMG_SIZE[2]
        mode = torch.cos(2 * math.pi * (rows + 2 * columns)).double()[None, None]
        flow = (schedule.velocity(world, mode, t) * mode).sum() / mode.square().sum()
        back = (schedule.reverse_drift(world, mode, t) * mode).sum() / mode.square().sum()
        torch.testing.assert_close(2 * flow * h, rate, rtol=1e-9, atol=1e-9)
        noise = schedule.diffusion(t) ** 2
        torch.testing.assert_close(2 * back * h - noise, rate, rtol=1e-9, atol=1e-9 * noise.item())


@pytest.mark.parametrize("schedule", SCHEDULES, ids=IDS)
def test_networks_of_other_parametrisations_become_denoisers(schedule, world, generator):
    """A score, or a prediction of the noise, of the Gaussian world gives back its denoiser."""
    x = torch.randn(2, *IMG_SIZE, generator=generator, dtype=torch.float64)
    sigma = torch.tensor([0.3, 1.7], dtype=torch.float64)  # one for each image

    def score(x_t, t):
        return schedule.score(world, x_t, t)

    def noise(x_t, t):
        s, sigma = (v[:, None, None, None] for v in (schedule.scale(t), schedule.sigma(t)))
        return (x_t / s - world(x_t / s, schedule.sigma(t))) / sigma

    for denoiser in (denoiser_from_score(score, schedule), denoiser_from_noise(noise, schedule)):
        # time and noise level are turned into each other: 1e-12 of each, over 0.3
        torch.testing.assert_close(denoiser(x, sigma), world(x, sigma), rtol=0, atol=1e-9)


def test_precision_of_images_is_kept(world, generator):
    x = torch.randn(2, *IMG_SIZE, generator=generator)
    vp = VariancePreserving()
    assert vp.velocity(world, x, 0.5).dtype == torch.float32
    torch.testing.assert_close(
        vp.velocity(world, x, 0.5).double(),
        vp.velocity(world, x.double(), 0.5),
        rtol=1e-4,
        atol=1e-4,
    )
