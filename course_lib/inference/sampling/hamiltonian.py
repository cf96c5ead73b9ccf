"""Hamiltonian Monte Carlo: samples from exp(-U(z)), many targets and chains at once."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from course_lib.inference.sampling.diagnostics import effective_sample_size, split_r_hat
from course_lib.rng import check_generator, normal_like
from course_lib.validation import check_start

DIVERGENT = 1000.0  # nats: no trajectory that follows the motion is so far off


@runtime_checkable
class Potential(Protocol):
    """U = -log density, up to a constant: values (n,) and gradients (n, ...) at the rows of z."""

    def value_and_grad(self, z: Tensor, /) -> tuple[Tensor, Tensor]:
        """U and its gradient."""
        ...


class Point(NamedTuple):
    """A place with its potential and the gradient there; R chains of B targets."""

    z: Float[Tensor, "r b ..."]
    value: Float[Tensor, "r b"]
    grad: Float[Tensor, "r b ..."]


@dataclass(frozen=True, eq=False)
class Chains:
    """S samples of each of R chains for each of B targets, and what to judge them by.

    Attributes:
        samples: (S, R, B, ...).
        potential: U at the samples, (S, R, B). Chains at different levels sit in different places.
        acceptance: mean probability to accept a proposal, (R, B).
        divergences: number of trajectories that were broken off, see `leapfrog`, (R, B): if more
            than a few, the step is too long for some region.
        step_size: of each target, (B,), in units of `scale`.
        scale: standard deviations by which the steps are stretched, (B, ...).
        gradients: number of gradients that each chain has cost, warm-up included.
    """

    samples: Float[Tensor, "s r b ..."]
    potential: Float[Tensor, "s r b"]
    acceptance: Float[Tensor, "r b"]
    divergences: Int[Tensor, "r b"]
    step_size: Float[Tensor, " b"]
    scale: Float[Tensor, "b ..."]
    gradients: int

    @cached_property
    def r_hat(self) -> Float[Tensor, "b ..."]:
        """`split_r_hat` of each number of z."""
        return split_r_hat(self.samples)

    @cached_property
    def effective_sample_size(self) -> Float[Tensor, "b ..."]:
        """`effective_sample_size` of each number of z, all chains together."""
        return effective_sample_size(self.samples)

    def thinned(self, n: int) -> Float[Tensor, "n b ..."]:
        """n samples that lie as far apart as they can, from all chains.

        Raises:
            ValueError: more than there are.
        """
        pool = self.samples.transpose(0, 1).flatten(0, 1)  # one chain after the other
        if not 1 <= n <= len(pool):
            raise ValueError(f"Chains.thinned: expected 1 <= n <= {len(pool)}, got {n}.")
        return pool[(torch.arange(n, device=pool.device) * len(pool)) // n]


def hamiltonian_monte_carlo(
    f: Potential,
    z0: Float[Tensor, "r b ..."],
    *,
    n_samples: int = 500,
    warmup: int = 500,
    leapfrog_steps: int = 20,
    step_size: float = 0.1,
    target_acceptance: float = 0.8,
    generator: Generator,
) -> Chains:
    """Samples from the densities exp(-U(z)) / constant, several chains for each, in one batch.

    Each iteration gives z a random velocity, follows the motion of a ball on the hill U for a
    random number of leapfrog steps, uniform from 1 to `leapfrog_steps`, and accepts the end with
    probability min(1, exp(-growth of the energy)). With one step it is MALA.

    During warm-up, each target's step size is steered towards the wanted acceptance by dual
    averaging, and each number of z gets its own scale, the standard deviation of what the chains
    have seen of it; both are shared by the chains of a target, and fixed afterwards.

    Args:
        f: potential; it sees the R B rows of a batch, chain by chain: row r B + b is target b.
        z0: where R chains of each of B targets start, (R, B, ...). For R-hat to tell anything,
            starts should lie further apart than samples will.
        n_samples: S, number of samples kept of each chain.
        warmup: number of iterations before, not kept.
        leapfrog_steps: largest number of steps in one iteration: enough to cross the target.
        step_size: first step size, and the only one without warm-up.
        target_acceptance: mean acceptance that warm-up aims at, in (0, 1).
        generator: source of velocities, numbers of steps, and decisions.

    Raises:
        ValueError: a start without the two leading axes, or where U is not finite; an option out
            of its range.
        TypeError: no torch.Generator.

    Source: Neal 2011, arXiv:1206.1901; for the step size, Hoffman & Gelman 2014, arXiv:1111.4246,
    section 3.2; for the windows, the Stan reference manual, "HMC algorithm parameters".
    """
    check_generator("hamiltonian_monte_carlo", generator)
    check_start("hamiltonian_monte_carlo", z0, "z0")
    _check_options(z0, n_samples, warmup, leapfrog_steps, step_size, target_acceptance)
    here = _evaluate(f, z0)
    if not here.value.isfinite().all():
        bad = (~here.value.isfinite()).sum().item()
        raise ValueError(
            f"hamiltonian_monte_carlo: U is not finite at {bad} of {here.value.numel()} starts."
        )
    adaptation = _Adaptation(z0, step_size, target_acceptance, warmup)
    kept, gradients = [], 1
    for iteration in range(warmup + n_samples):
        warming = iteration < warmup
        step = _like(adaptation.step_size(warming), z0) * adaptation.scale
        count = int(torch.randint(1, leapfrog_steps + 1, (), generator=generator))
        move = _transition(f, here, step, count, generator)
        here, gradients = move.end, gradients + count
        if warming:
            adaptation.update(move)
        else:
            kept.append(move)
    return Chains(
        samples=torch.stack([move.end.z for move in kept]),
        potential=torch.stack([move.end.value for move in kept]),
        acceptance=torch.stack([move.acceptance for move in kept]).mean(0),
        divergences=torch.stack([move.energy_error for move in kept]).isinf().sum(0),
        step_size=adaptation.step_size(False),
        scale=adaptation.scale,
        gradients=gradients,
    )


class Transition(NamedTuple):
    """One iteration of R chains for B targets."""

    end: Point
    acceptance: Float[Tensor, "r b"]  # probability that the proposal is accepted
    energy_error: Float[Tensor, "r b"]  # growth of U + |v|^2 / 2; infinite where broken off


def _transition(
    f: Potential, start: Point, step: Tensor, count: int, generator: Generator
) -> Transition:
    velocity = normal_like(start.z, generator)
    proposal, new_velocity = leapfrog(f, start, velocity, step, count)
    energy_error = proposal.value - start.value + _kinetic(new_velocity) - _kinetic(velocity)
    acceptance = (-energy_error).clamp(max=0).exp()
    accepted = _uniform_like(acceptance, generator) < acceptance
    pairs = zip(start, proposal, strict=True)
    end = Point(*(torch.where(_like(accepted, new), new, old) for old, new in pairs))
    return Transition(end, acceptance, energy_error)


def leapfrog(
    f: Potential, start: Point, velocity: Tensor, step: Tensor, count: int
) -> tuple[Point, Tensor]:
    """count steps of dz/dt = v, dv/dt = -grad U(z), by alternating half kicks and drifts.

    The map is reversible (from the end with -v it leads back) and keeps volumes, and the energy
    U + |v|^2 / 2 is off by O(step^2): what makes the acceptance rule exact. A trajectory whose
    energy has grown by 1000 nats is broken off, and its end has U infinite.

    Args:
        f: potential.
        start: z with its potential and gradient.
        velocity: v, of the shape of z.
        step: step size, which broadcasts over z; one that differs between the numbers of z is a
            linear change of variables.
        count: number of steps.
    """
    here, limit = start, start.value + _kinetic(velocity) + DIVERGENT
    sound = torch.ones_like(start.value, dtype=torch.bool)
    for _ in range(count):
        velocity = velocity - step / 2 * here.grad
        z = torch.where(_like(sound, here.z), here.z + step * velocity, start.z)
        here = _evaluate(f, z)
        velocity = velocity - step / 2 * here.grad
        sound = sound & (here.value + _kinetic(velocity) <= limit)
    return here._replace(value=here.value.where(sound, math.inf)), velocity


class DualAveraging:
    """Finds the step sizes at which the mean acceptance is the target.

    Source: Hoffman & Gelman 2014, arXiv:1111.4246, algorithm 5, with its constants.
    """

    def __init__(self, step_size: Float[Tensor, " b"], target: float) -> None:
        self.step_size = self.averaged = step_size
        self.target, self.centre = target, (10 * step_size).log()
        self.shortfall, self.count = torch.zeros_like(step_size), 0

    def update(self, acceptance: Float[Tensor, " b"]) -> None:
        """Learn from one iteration."""
        self.count += 1
        t = self.count
        self.shortfall = self.shortfall + (self.target - acceptance - self.shortfall) / (t + 10)
        log_step = self.centre - math.sqrt(t) / 0.05 * self.shortfall
        weight = t**-0.75
        self.step_size = log_step.exp()
        self.averaged = (weight * log_step + (1 - weight) * self.averaged.log()).exp()


class _Adaptation:
    """Step sizes and scales of each target, measured during warm-up."""

    def __init__(self, z0: Tensor, step_size: float, target: float, warmup: int) -> None:
        self.averaging = DualAveraging(z0.new_full(z0.shape[1:2], step_size), target)
        self.scale = torch.ones_like(z0[0])
        self.ends, self.iteration = _window_ends(warmup), 0
        self.window: list[Tensor] = []

    def step_size(self, warming: bool) -> Float[Tensor, " b"]:
        """The step size to try next, or the mean that stays."""
        return self.averaging.step_size if warming else self.averaging.averaged

    def update(self, move: Transition) -> None:
        """Learn from one iteration; at the end of a window, measure the scales anew."""
        self.averaging.update(move.acceptance.mean(0))
        self.window.append(move.end.z)
        self.iteration += 1
        if self.iteration in self.ends:
            if self.iteration > self.ends[0]:
                self.scale = _spread(torch.stack(self.window), self.scale)
                self.averaging = DualAveraging(self.averaging.averaged, self.averaging.target)
            self.window = []


def _window_ends(warmup: int) -> list[int]:
    """Ends of the windows after each of which the scales are measured; the first only settles.

    Each is about twice as long as the one before; after the last, a tenth is left for the step.
    A warm-up of less than 20 is too short for scales.
    """
    if warmup < 20:
        return []
    first, last = int(0.15 * warmup), int(0.9 * warmup)
    ends, length = [first], max(25, first)
    while ends[-1] + 3 * length <= last:
        ends.append(ends[-1] + length)
        length *= 2
    return [*ends, last]


def _spread(samples: Float[Tensor, "s r b ..."], old: Tensor) -> Float[Tensor, "b ..."]:
    """Standard deviations within the chains: the distances between them would exaggerate it."""
    variance = samples.var(0).mean(0)
    return torch.where(variance > 0, variance.sqrt(), old)  # nothing has moved: nothing is learnt


def _evaluate(f: Potential, z: Float[Tensor, "r b ..."]) -> Point:
    value, grad = f.value_and_grad(z.flatten(0, 1))
    return Point(z, value.view(z.shape[:2]), grad.view(z.shape))


def _kinetic(velocity: Float[Tensor, "r b ..."]) -> Float[Tensor, "r b"]:
    return velocity.flatten(2).square().sum(2) / 2


def _uniform_like(x: Tensor, generator: Generator) -> Tensor:
    draw = torch.rand(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
    return draw.to(x.device)


def _like(values: Tensor, z: Tensor) -> Tensor:
    """(B,) or (R, B) so that it multiplies (R, B, ...)."""
    return values.reshape(*values.shape, *[1] * (z.ndim - 2))


def _check_options(
    z0: Tensor, n_samples: int, warmup: int, leapfrog_steps: int, step_size: float, target: float
) -> None:
    if z0.ndim < 3:
        raise ValueError(
            "hamiltonian_monte_carlo: expected starts of shape (R, B, ...), R chains for each of B "
            f"targets, got {tuple(z0.shape)}."
        )
    if n_samples < 4 or warmup < 0 or leapfrog_steps < 1:
        raise ValueError(
            "hamiltonian_monte_carlo: expected n_samples >= 4, warmup >= 0 and leapfrog_steps >= "
            f"1, got {n_samples}, {warmup} and {leapfrog_steps}."
        )
    if not 0 < step_size < math.inf or not 0 < target < 1:
        raise ValueError(
            "hamiltonian_monte_carlo: expected a positive step_size and target_acceptance in "
            f"(0, 1), got {step_size} and {target}."
        )
