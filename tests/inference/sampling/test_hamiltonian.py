"""The integrator has its order and symmetries; the chains have the distribution asked for."""

import itertools
import math

import pytest
import scipy.stats
import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.inference.sampling.hamiltonian import (
    DualAveraging,
    Point,
    _window_ends,
    hamiltonian_monte_carlo,
    leapfrog,
)
from course_lib.rng import generator_from


class Gaussian:
    """U(z) = (z - mean)^T P (z - mean) / 2, with one mean and precision for each of B targets."""

    def __init__(self, mean, precision):
        self.mean, self.precision = mean, precision

    def value_and_grad(self, z: Float[Tensor, "n d"]):
        away = z - self.mean.repeat(len(z) // len(self.mean), 1)
        P = self.precision.repeat(len(z) // len(self.mean), 1, 1)
        grad = (P @ away[:, :, None]).squeeze(2)
        return (away * grad).sum(1) / 2, grad


class Quartic:
    """U(z) = |z|^4 / 4."""

    def value_and_grad(self, z):
        square = z.square().sum(1)
        return square.square() / 4, square[:, None] * z


class TwoWells:
    """Two unit Gaussians in one dimension, at -10 and 10."""

    def value_and_grad(self, z):
        side = torch.where(z > 0, 1.0, -1.0)
        return (z - 10 * side).square().sum(1) / 2, z - 10 * side


def at(f, z):
    value, grad = f.value_and_grad(z.flatten(0, 1))
    return Point(z, value.view(z.shape[:2]), grad.view(z.shape))


def energy(point, velocity):
    return point.value + velocity.square().sum(2) / 2


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=generator_from(seed), dtype=torch.float64)


def test_leapfrog_is_reversible():
    start, v = at(Quartic(), draw(3, 2, 4)), draw(3, 2, 4, seed=1)
    end, w = leapfrog(Quartic(), start, v, torch.tensor(0.1), 25)
    back, u = leapfrog(Quartic(), end, -w, torch.tensor(0.1), 25)
    assert (end.z - start.z).abs().max() > 0.5
    # 50 steps of rounding errors, which such a motion amplifies little
    torch.testing.assert_close(back.z, start.z, rtol=0, atol=1e-12)
    torch.testing.assert_close(-u, v, rtol=0, atol=1e-12)


def test_leapfrog_keeps_volumes():
    """The determinant of the map (z, v) -> (z', v') is 1, at any step."""

    def flow(zv):
        z, v = zv[:2].view(1, 1, 2), zv[2:].view(1, 1, 2)
        end, w = leapfrog(Quartic(), at(Quartic(), z), v, torch.tensor([0.3, 0.2]), 5)
        return torch.cat([end.z.flatten(), w.flatten()])

    jacobian = torch.autograd.functional.jacobian(flow, draw(4))
    assert torch.linalg.det(jacobian).item() == pytest.approx(1, abs=1e-12)


def test_energy_error_is_of_second_order():
    start, v = at(Quartic(), draw(50, 1, 3)), draw(50, 1, 3, seed=1)
    errors = []
    for count in (20, 40, 80):  # the same time span of 2
        end, w = leapfrog(Quartic(), start, v, torch.tensor(2 / count), count)
        errors.append((energy(end, w) - energy(start, v)).abs().mean().item())
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert slopes == pytest.approx([2, 2], abs=0.15)  # the next term is of order 4


def test_leapfrog_follows_the_exact_motion():
    """In U = |z|^2 / 2 a ball at (z, 0) is at (z cos t, -z sin t)."""
    f = Gaussian(torch.zeros(1, 2).double(), torch.eye(2).double()[None])
    z = draw(4, 1, 2)
    end, w = leapfrog(f, at(f, z), torch.zeros_like(z), torch.tensor(1e-3), 1000)
    torch.testing.assert_close(end.z, z * math.cos(1), rtol=0, atol=1e-6)  # step^2 t / 24
    torch.testing.assert_close(w, -z * math.sin(1), rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def gaussians():
    """Three targets in four dimensions, of different places, widths and correlations."""
    root = 0.3 * draw(3, 4, 4) + torch.eye(4)
    root = root * torch.tensor([1.0, 0.1, 0.01]).view(3, 1, 1)
    covariance = root @ root.mT
    mean = draw(3, 4, seed=1)
    f = Gaussian(mean, torch.linalg.inv(covariance))
    z0 = draw(8, 3, 4, seed=2) * 3
    chains = hamiltonian_monte_carlo(
        f, z0, n_samples=1000, warmup=400, leapfrog_steps=20, generator=generator_from(3)
    )
    return mean, covariance, chains


def test_gaussian_mean_and_covariance(gaussians):
    mean, covariance, chains = gaussians
    pool = chains.samples.flatten(0, 1)
    variance = covariance.diagonal(dim1=1, dim2=2)
    ess = chains.effective_sample_size
    assert ess.min() > 1000
    # 12 means, each within 4 standard errors
    assert ((pool.mean(0) - mean).abs() <= 4 * (variance / ess).sqrt()).all()
    for b in range(3):
        found = torch.cov(pool[:, b].T)
        scale = (variance[b][:, None] * variance[b]).sqrt()
        # An entry of a covariance has relative standard error of at most sqrt(2 / ESS of squares);
        # squares mix at half the speed or better.
        assert ((found - covariance[b]).abs() <= 4 * scale * (4 / ess[b].min()).sqrt()).all()


def test_gaussian_diagnostics(gaussians):
    _, covariance, chains = gaussians
    assert chains.r_hat.max() < 1.01
    assert chains.divergences.sum() == 0
    # After 40 steps, dual averaging still remembers its first, shorter steps.
    assert ((chains.acceptance > 0.75) & (chains.acceptance < 0.98)).all()
    std = covariance.diagonal(dim1=1, dim2=2).sqrt()
    assert (chains.scale / std).log().abs().max() < 0.5
    # U = (chi square of 4 degrees) / 2: mean 2, variance 2
    assert chains.potential.mean().item() == pytest.approx(2, abs=0.15)
    assert chains.potential.shape == (1000, 8, 3)


def test_thinned(gaussians):
    samples = gaussians[2].samples
    assert gaussians[2].thinned(16).shape == (16, 3, 4)
    torch.testing.assert_close(gaussians[2].thinned(8000), samples.transpose(0, 1).flatten(0, 1))
    torch.testing.assert_close(gaussians[2].thinned(16)[::2], samples[0])  # two of each chain
    with pytest.raises(ValueError, match=r"1 <= n <= 8000, got 8001"):
        gaussians[2].thinned(8001)


@pytest.mark.parametrize("steps", [1, 6])  # MALA, and trajectories
def test_the_distribution_is_kept_at_any_step(steps):
    """Detailed balance: steps so long that many are refused must not move the right distribution.

    For exp(-z^4 / 4), E z^2 = 2 Gamma(3/4) / Gamma(1/4) and E z^4 = 1. The starts are exact
    draws, z = (4 g)^(1/4) with g ~ Gamma(1/4).
    """
    n = 40_000
    uniform = torch.rand(n, generator=generator_from(7), dtype=torch.float64)
    g = torch.from_numpy(scipy.stats.gamma.ppf(uniform.numpy(), 0.25))
    sign = torch.where(torch.rand(n, generator=generator_from(8)) < 0.5, -1.0, 1.0)
    z0 = (sign * (4 * g) ** 0.25).view(n, 1, 1)
    chains = hamiltonian_monte_carlo(
        Quartic(),
        z0,
        n_samples=10,
        warmup=0,
        leapfrog_steps=steps,
        step_size=1.3,
        generator=generator_from(9),
    )
    assert 0.3 < chains.acceptance.mean() < 0.9
    last = chains.samples[-1]
    second = 2 * math.gamma(0.75) / math.gamma(0.25)
    # 4 standard errors: var(z^2) = 1 - second^2, var(z^4) = 4
    assert last.square().mean().item() == pytest.approx(second, abs=4 * 0.74 / n**0.5)
    assert last.pow(4).mean().item() == pytest.approx(1, abs=4 * 2 / n**0.5)


@pytest.mark.slow
def test_stuck_chains_are_seen():
    z0 = torch.tensor([-10.0, 10.0, -10.0, 10.0]).view(4, 1, 1)
    chains = hamiltonian_monte_carlo(
        TwoWells(), z0, n_samples=200, warmup=200, generator=generator_from(0)
    )
    assert chains.r_hat.min() > 5
    assert chains.effective_sample_size.max() < 10
    # Each well is a unit Gaussian; the 20 between the wells must not count as a scale.
    assert 0.7 < chains.scale.item() < 1.4
    assert (chains.acceptance > 0.6).all()  # nor may the step size be one for such a scale
    same = hamiltonian_monte_carlo(
        TwoWells(), z0.abs(), n_samples=200, warmup=200, generator=generator_from(0)
    )
    assert same.r_hat.max() < 1.05  # nothing tells of a well that no chain has found


def test_a_step_far_too_long_is_refused_and_counted():
    f = Gaussian(torch.zeros(1, 2).double(), 1e4 * torch.eye(2).double()[None])
    chains = hamiltonian_monte_carlo(
        f,
        draw(3, 1, 2) / 100,
        n_samples=20,
        warmup=0,
        step_size=1.0,
        leapfrog_steps=20,
        generator=generator_from(0),
    )
    assert (chains.divergences >= 18).all()
    assert chains.acceptance.max() < 0.05
    assert chains.samples.isfinite().all()


def test_a_trajectory_that_runs_away_is_broken_off():
    """A model need not bear latents that are not finite: it never gets them."""

    class Fussy(Quartic):
        def value_and_grad(self, z):
            assert z.isfinite().all()
            return super().value_and_grad(z)

    start, v = at(Fussy(), draw(4, 1, 3)), draw(4, 1, 3, seed=1)
    end, _ = leapfrog(Fussy(), start, v, torch.tensor([3.0]), 50)
    assert (end.value == math.inf).all()
    calm, _ = leapfrog(Fussy(), start, v, torch.tensor([0.01]), 50)
    assert calm.value.isfinite().all()


def test_gradients_are_counted():
    calls = []

    class Counted(Quartic):
        def value_and_grad(self, z):
            calls.append(len(z))
            return super().value_and_grad(z)

    chains = hamiltonian_monte_carlo(
        Counted(),
        draw(3, 2, 4),
        n_samples=15,
        warmup=30,
        leapfrog_steps=7,
        generator=generator_from(0),
    )
    assert chains.gradients == len(calls)
    assert set(calls) == {6}  # all chains of all targets at once


def test_every_record_is_that_of_the_iterations():
    """Chains without warm-up written out one by one, with the same random numbers."""
    n, step, f, z = 25, 0.7, Quartic(), draw(3, 2, 4)
    chains = hamiltonian_monte_carlo(
        f, z, n_samples=n, warmup=0, leapfrog_steps=5, step_size=step, generator=generator_from(1)
    )
    generator, acceptance, broken, gradients = generator_from(1), [], [], 1

    def potential(z):
        return z.square().sum(2).square() / 4

    for k in range(n):
        count = int(torch.randint(1, 6, (), generator=generator))
        velocity = torch.randn(z.shape, generator=generator, dtype=z.dtype)
        proposal, v = z, velocity
        for _ in range(count):
            v = v - step / 2 * proposal.square().sum(2, keepdim=True) * proposal
            proposal = proposal + step * v
            v = v - step / 2 * proposal.square().sum(2, keepdim=True) * proposal
        energies = [potential(p) + w.square().sum(2) / 2 for p, w in ((z, velocity), (proposal, v))]
        broken.append(energies[1] - energies[0] > 1000)
        acceptance.append((energies[0] - energies[1]).exp().clamp(max=1).where(~broken[-1], 0))
        chance = torch.rand(3, 2, generator=generator, dtype=z.dtype)
        z = torch.where((chance < acceptance[-1])[..., None], proposal, z)
        gradients += count
        torch.testing.assert_close(chains.samples[k], z, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(chains.potential[k], potential(z), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(chains.acceptance, torch.stack(acceptance).mean(0))
    assert torch.equal(chains.divergences, torch.stack(broken).sum(0))
    assert 0 < chains.divergences.sum() < 6 * n
    assert chains.gradients == gradients
    assert torch.equal(chains.step_size, torch.full((2,), step, dtype=z.dtype))
    assert torch.equal(chains.scale, torch.ones(2, 4, dtype=z.dtype))


def test_dual_averaging_meets_the_target():
    """Acceptance exp(-step / b) is 0.8 at the step b log(1 / 0.8)."""
    b = torch.tensor([0.01, 1.0, 50.0], dtype=torch.float64)
    averaging = DualAveraging(torch.full((3,), 0.3, dtype=torch.float64), 0.8)
    for _ in range(2000):
        averaging.update((-averaging.step_size / b).exp())
    torch.testing.assert_close(
        averaging.averaged, b * math.log(1 / 0.8), rtol=0.05, atol=0
    )  # the mean forgets as t^-0.75


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"n_samples": 3},
            r"n_samples >= 4, warmup >= 0 and leapfrog_steps >= 1, got 3, 500 and 20",
        ),
        ({"leapfrog_steps": 0}, r"got 500, 500 and 0"),
        ({"step_size": 0.0}, r"positive step_size"),
        ({"target_acceptance": 1.0}, r"target_acceptance in \(0, 1\), got 0.1 and 1.0"),
        ({"z0": torch.zeros(4, 2)}, r"shape \(R, B, \.\.\.\)"),
        ({"z0": torch.full((4, 2, 1), math.nan)}, r"NaN or infinite"),
        ({"z0": torch.full((4, 2, 1), 1e20)}, r"U is not finite at 8 of 8 starts"),
    ],
)
def test_bad_input(options, match):
    options = {"z0": torch.zeros(4, 2, 1), "generator": generator_from(0), **options}
    with pytest.raises(ValueError, match=match):
        hamiltonian_monte_carlo(Quartic(), options.pop("z0"), **options)
    with pytest.raises(TypeError, match="Generator"):
        hamiltonian_monte_carlo(Quartic(), torch.zeros(4, 2, 1), generator=None)


@pytest.mark.parametrize(
    ("warmup", "ends"),
    [
        (19, []),
        (20, [3, 18]),
        (100, [15, 40, 90]),
        (200, [30, 60, 180]),
        (1000, [150, 300, 900]),
        (2000, [300, 600, 1800]),
    ],
)
def test_windows_of_the_warm_up(warmup, ends):
    """From 15 to 90 per cent of it, each about twice as long as the one before."""
    assert _window_ends(warmup) == ends


def test_first_step_of_dual_averaging():
    """log step = log(10 first) - (target - acceptance) / (0.05 (1 + 10)), as published."""
    averaging = DualAveraging(torch.tensor([0.3], dtype=torch.float64), 0.8)
    averaging.update(torch.tensor([0.5], dtype=torch.float64))
    expected = math.log(3.0) - 0.3 / (0.05 * 11)
    torch.testing.assert_close(averaging.step_size.log().item(), expected, rtol=1e-12, atol=0)
