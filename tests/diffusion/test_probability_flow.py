"""Potentials by the probability flow, against densities that are known."""

import math
from functools import partial

import pytest
import torch

from course_lib.diffusion import (
    AdaptiveSteps,
    Hutchinson,
    estimate_potential,
    potential,
    potential_gradient,
    rademacher,
)
from course_lib.diffusion.probability_flow import (
    SIGMA_MAX,
    SIGMA_MIN,
    PotentialEstimate,
    WhitenedFlow,
)
from course_lib.exact import EmpiricalMixture, power_law
from course_lib.fourier import half_spectrum_weights
from course_lib.rng import generator_from

SMALL = (1, 16, 16)


def impulse(img_size):
    """One probe whose quadratic form is the trace of any matrix that commutes with translations:
    all its diagonal entries are equal."""
    probe = torch.zeros(1, *img_size, dtype=torch.float64)
    probe[0, 0, 0, 0] = math.sqrt(math.prod(img_size))
    return Hutchinson(probe)


@pytest.fixture
def world():
    return power_law(SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("img_size", [SMALL, (1, 32, 32), (1, 15, 17)])
def test_gaussian_world(img_size, generator):
    """1e-4 relative with 43 evaluations; the density at sigma_min is a closed form."""
    world = power_law(img_size)
    x = world.sample(8, generator=generator, sigma=SIGMA_MIN)
    exact = world.potential(x, SIGMA_MIN)
    found = estimate_potential(world, x, 7, impulse(img_size))
    assert (found.evaluations == 43).all()
    torch.testing.assert_close(found.value, exact, rtol=1e-4, atol=0)
    fine = potential(world, x, 40, impulse(img_size))
    torch.testing.assert_close(fine, exact, rtol=3e-6, atol=0)  # the law at sigma_max


def test_exact_trace_is_all_basis_vectors(world, generator):
    x = world.sample(2, generator=generator)
    exact = potential(world, x, 4, "exact")
    torch.testing.assert_close(exact, potential(world, x, 4, impulse(SMALL)), rtol=1e-9, atol=0)


@pytest.mark.slow
def test_error_falls_with_order_five_and_is_estimated(world, generator):
    x = world.sample(4, generator=generator)
    probe = impulse(SMALL)
    limit = potential(world, x, 200, probe)
    runs = {n: estimate_potential(world, x, n, probe) for n in (10, 20, 40)}
    errors = {n: (run.value - limit).norm().item() for n, run in runs.items()}
    # Steps of 0.4 in log sigma are nearly small enough: between 4 and 6
    assert math.log2(errors[20] / errors[40]) == pytest.approx(5, abs=1)
    for n, run in runs.items():
        assert run.integration_error.norm() > errors[n]
    assert runs[40].integration_error.max() < 2e-3


def test_a_probe_given_twice_counts_as_one(world, generator):
    """`value` is a mean over probes: so are its integration error and all else, to rounding."""
    x = world.sample(2, generator=generator)
    probe = rademacher(SMALL, 1, generator=generator).double()
    once, twice = (
        estimate_potential(world, x, 8, Hutchinson(probe.repeat(k, 1, 1, 1))) for k in (1, 2)
    )
    torch.testing.assert_close(twice.value, once.value, rtol=1e-9, atol=0)
    torch.testing.assert_close(twice.integration_error, once.integration_error, rtol=1e-6, atol=0)
    assert (twice.probe_error < 1e-9 * once.value.abs()).all()


def test_estimated_error_counts_what_a_wrong_image_costs(world, generator):
    """First order: the gradient of the potential at the end of a step, times the error there."""
    x = world.sample(3, generator=generator, sigma=0.1)
    told = partial(world)
    told.data_std = 0.3
    flow = WhitenedFlow(told, x, impulse(SMALL), SIGMA_MAX)
    state, u = flow.start(x, 0.1), torch.full((3,), flow.time(0.1)).double()
    error = 1e-6 * torch.randn(state.shape, generator=generator, dtype=torch.float64)
    found = flow.error(u, state, flow.slope(u, state), error)
    moved = x + math.sqrt(0.09 + 0.01) * error[:, :-1].view_as(x)
    change = world.potential(moved, 0.1) - world.potential(x, 0.1) + error[:, -1]
    # The second order: half of |moved - x|^2 = 3e-11 times the curvature, at most 1 / 0.1^2
    torch.testing.assert_close(found, change.abs(), rtol=0, atol=5e-9)


def test_the_denoiser_knows_its_largest_noise_level(world, generator):
    x = world.sample(1, generator=generator)
    world_of_ten = partial(world)
    world_of_ten.sigma_max = 10.0
    found = potential(world_of_ten, x, 6, impulse(SMALL))
    assert found == potential(world, x, 6, impulse(SMALL), sigma_max=10.0)


def test_adaptive_steps(world, generator):
    x = world.sample(4, generator=generator)
    x = torch.cat([x, x[:1] + 1])  # far from the mean
    probe, exact = impulse(SMALL), world.potential(x, SIGMA_MIN)
    found = estimate_potential(world, x, AdaptiveSteps(1e-6), probe)
    # At sigma_max the law is not quite Gaussian: half the squared whitened distance of the
    # outlier, (16 * 1)^2 / (2 * 80^2) = 0.02, is off by a part of itself.
    torch.testing.assert_close(found.value, exact, rtol=1e-5, atol=0.02)
    alone = estimate_potential(world, x[4:], AdaptiveSteps(1e-6), probe)
    assert alone.value[0] == pytest.approx(found.value[4].item(), rel=1e-12)


def test_images_of_a_batch_are_alone(world, generator):
    """The same number for an image by itself and among others."""
    x = world.sample(5, generator=generator)
    together = potential(world, x, 4, 2, generator_from(3))
    alone = potential(world, x[3:4], 4, 2, generator_from(3))
    torch.testing.assert_close(together[3:4], alone, rtol=1e-12, atol=0)


def test_latent_is_the_image_carried_along(world, generator):
    """Each mode scales by sqrt((S + sigma_max^2) / (S + sigma_min^2)); samples become N(0, I)."""
    x = world.sample(300, generator=generator, sigma=SIGMA_MIN)
    told = partial(world)
    told.data_std = 0.2
    latent = estimate_potential(told, x, 10, impulse(SMALL)).latent
    gain = (world.spectrum + SIGMA_MAX**2) / (world.spectrum + SIGMA_MIN**2) / (0.04 + SIGMA_MAX**2)
    modes = torch.fft.rfft2(latent - 0) / gain.sqrt()
    torch.testing.assert_close(modes, torch.fft.rfft2(x - 0.5), rtol=1e-4, atol=2e-3)
    # 300 x 256 draws: the variance has the relative error sqrt(2 / 76800) = 0.005
    assert latent.square().mean() == pytest.approx(1, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_spread_of_hutchinson_is_its_formula(kind, world, generator):
    """With the probe e fixed, the potential contains e^T M e for a known circulant M.

    M = log((C + sigma_max^2) / (C + sigma_min^2)) / 2 is the integral of I - dD/dx along the flow;
    the reference takes a multiple of I off it. For Rademacher probes the variance is
    2 (|M|_F^2 - sum of M_ii^2), where the multiple does not count; for Gaussian ones 2 |M|_F^2.
    """
    x = world.sample(1, generator=generator)
    n = x[0].numel()
    weights = half_spectrum_weights(SMALL[1:])
    spectrum, variance = world.spectrum, 0.25**2
    m = ((spectrum + SIGMA_MAX**2) / (spectrum + SIGMA_MIN**2)).log() / 2
    m = m - math.log((variance + SIGMA_MAX**2) / (variance + SIGMA_MIN**2)) / 2
    total, mean = (weights * m.square()).sum(), (weights * m).sum() / n
    count = 400
    if kind == "rademacher":
        probes, expected = rademacher(SMALL, count, generator=generator), total - n * mean**2
    else:
        probes, expected = torch.randn(count, *SMALL, generator=generator), total
    found = estimate_potential(world, x, 8, Hutchinson(probes.double()))
    spread = found.by_probe[:, 0].std()
    # The standard deviation of 400 nearly normal numbers has relative error 1 / sqrt(800) = 0.035.
    assert spread == pytest.approx((2 * expected).sqrt().item(), rel=4 * 0.035)
    exact = potential(world, x, 8, impulse(SMALL))
    assert (found.value - exact).abs() < 3.5 * found.probe_error  # 3.5 standard errors


def test_probe_error_is_the_standard_error_of_the_mean():
    """Of four probes: 1, 2, 3 and 6 have the unbiased variance 14 / 3."""
    by_probe = torch.tensor([[1.0, 7.0], [2.0, 7.0], [3.0, 7.0], [6.0, 7.0]])
    none = torch.zeros(2)
    found = PotentialEstimate(by_probe.mean(0), by_probe, none, none.view(2, 1, 1, 1), none)
    torch.testing.assert_close(found.probe_error, torch.tensor([(14 / 3 / 4) ** 0.5, 0.0]))


def test_common_probes_make_differences_exact(world, generator):
    """In a linear world the noise of the probe is the same for all images."""
    x = world.sample(3, generator=generator)
    found = potential(world, x, 10, 1, generator)
    exact = world.potential(x, SIGMA_MIN)
    torch.testing.assert_close(found.diff(), exact.diff(), rtol=0, atol=1e-2)  # the integration
    assert (found - exact).abs().min() > 0.1  # while one probe is far off


def test_probes_for_each_image(world, generator):
    x = world.sample(2, generator=generator)
    shared = rademacher(SMALL, 3, generator=generator)
    separate = torch.stack([shared, shared.flip(0)], dim=1)
    found = estimate_potential(world, x, 3, Hutchinson(separate))
    expected = estimate_potential(world, x, 3, Hutchinson(shared))
    torch.testing.assert_close(found.by_probe[:, 0], expected.by_probe[:, 0])
    torch.testing.assert_close(found.by_probe[:, 1], expected.by_probe[:, 1].flip(0))


def test_mixture(generator):
    """A law with two peaks and a curved flow, against its log-sum-exp."""
    mixture = EmpiricalMixture(torch.rand(2, 1, 3, 3, generator=generator).double())
    x = mixture.sample(6, generator=generator, sigma=0.05)
    found = potential(mixture, x, 40, "exact", sigma_min=0.05)
    # sigma_max = 80, where two Diracs look Gaussian to (1 / 80)^2; the solver is far better
    torch.testing.assert_close(found, mixture.potential(x, 0.05), rtol=0, atol=2e-3)


def test_gradient_of_the_potential(world, generator):
    x = world.sample(2, generator=generator).requires_grad_()
    (exact,) = torch.autograd.grad(world.potential(x, 0.05).sum(), x)
    torch.testing.assert_close(potential_gradient(world, x, 0.05), exact, rtol=1e-9, atol=1e-9)


def test_float32_images_keep_their_precision(world, generator):
    x = world.sample(2, generator=generator)
    single = potential(world, x.float(), 8, impulse(SMALL))
    torch.testing.assert_close(single, potential(world, x, 8, impulse(SMALL)), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (TypeError, "expected a torch.Generator, got NoneType", {}),
        (ValueError, "expected probes", {"n_probes": Hutchinson(torch.ones(2, 3, *SMALL))}),
        (
            ValueError,
            "the same for all",
            {"n_steps": AdaptiveSteps(1e-3), "n_probes": Hutchinson(torch.ones(2, 2, *SMALL))},
        ),
        (
            ValueError,
            "sigma_min < sigma_max",
            {"sigma_min": 1.0, "sigma_max": 0.5, "n_probes": "exact"},
        ),
        (ValueError, "at least 1, got 0", {"n_steps": 0, "n_probes": "exact"}),
    ],
)
def test_refusals(error, message, arguments, world, generator):
    with pytest.raises(error, match=message):
        potential(world, world.sample(2, generator=generator), **arguments)


def test_an_error_of_the_state_is_measured_per_dimension(world):
    """Root mean square of the image's error, or the largest of the traces' over n."""
    flow = WhitenedFlow(world, torch.rand(1, *SMALL).double(), impulse(SMALL), SIGMA_MAX)
    local = torch.zeros(2, 257, dtype=torch.float64)
    local[0, :256], local[1, 256] = 0.3, -2.56
    torch.testing.assert_close(flow.norm(local), torch.tensor([0.3, 0.01]).double())
