"""Minimisation of minus the ELBO: Adam with fresh draws, or any optimiser with fixed ones."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.batch import inner, per_image
from course_lib.inference.vble.factors import Eps, Parameters
from course_lib.inference.vble.objective import Objective
from course_lib.solvers import LBFGS, Adam, minimise
from course_lib.solvers.solution import History, Status, status_of

LOG_SCALES = (math.log(1.5e-5), math.log(20.0))  # bounds of log a and log b, as published
End = tuple[Parameters, Status, dict[str, Tensor]]


@dataclass(frozen=True)
class StochasticAdam:
    """Adam with fresh draws at every step, and a step size that falls to 0 along a cosine, so that
    the noise of the gradient is averaged out.

    Args:
        n_steps: number of steps.
        step_size: about the change of each number of m, log a and log b in one step; nu moves by
            the standard deviation of images from G(z) times that.
        n_draws: K, draws of z and x in every step.
        clip_norm: norm to which an image's gradient, per measured number, is shortened.

    Raises:
        ValueError: an option out of its range.
    """

    n_steps: int = 300
    step_size: float = 0.1
    n_draws: int = 1
    clip_norm: float = 20.0

    def __post_init__(self) -> None:
        positive = self.step_size > 0 and self.clip_norm > 0
        if min(self.n_steps, self.n_draws) < 1 or not positive:
            raise ValueError(
                "StochasticAdam: expected n_steps >= 1, n_draws >= 1, step_size > 0 and "
                f"clip_norm > 0, got {self}."
            )


def with_fresh_draws(
    f: Objective,
    start: Parameters,
    draw: Callable[[], Eps],
    optimiser: StochasticAdam,
    nu_unit: float,
    units: Parameters | None = None,
) -> End:
    """Parameters after Adam's steps; those of nu are `nu_unit` times as long as the others, and
    those of a parameter in `units` as much longer, number by number, as is written there.
    """
    units = {} if units is None else units
    free = {name: part.clone().requires_grad_() for name, part in start.items()}
    rates = dict.fromkeys(free, 1.0) | {"nu": nu_unit}
    adam = torch.optim.Adam(
        [{"params": [free[name]], "lr": rates[name] * optimiser.step_size} for name in free]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, optimiser.n_steps)
    history, longest = History("objective"), optimiser.clip_norm * f.n_measured
    for _ in range(optimiser.n_steps):
        value = f(free, draw())
        grads = torch.autograd.grad(value.sum(), list(free.values()))
        lengths = torch.stack([inner(grad, grad) for grad in grads]).sum(0).sqrt()
        for part, grad in zip(free.values(), grads, strict=True):
            part.grad = grad * per_image((longest / lengths).clamp(max=1), grad)
        before = {name: free[name].detach().clone() for name in units}
        adam.step()
        for name, unit in units.items():
            free[name].data = before[name].lerp(free[name].detach(), unit)
        schedule.step()
        for name in {"log_a", "log_a_h", "log_b"} & set(free):
            free[name].detach().clamp_(*LOG_SCALES)
        history.add(objective=value)
    end = {name: part.detach() for name, part in free.items()}
    return end, "max_iter" if value.isfinite().all() else "diverged", history.stack()


def with_fixed_draws(f: Objective, start: Parameters, eps: Eps, optimiser: LBFGS | Adam) -> End:
    """Parameters at the minimum for the given draws, each image by a descent of its own."""
    vectors = _Vectors(f, start, eps)
    end = minimise(vectors, torch.cat([v.flatten(1) for v in start.values()], dim=1), optimiser)
    status = status_of(end.converged, ~end.value.isfinite())
    return vectors.parameters(end.z), status, {"objective": end.history}


@dataclass(frozen=True, eq=False)
class _Vectors:
    """The objective as a function of one vector an image."""

    f: Objective
    like: Parameters
    eps: Eps

    def value_and_grad(self, z: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        z = z.detach().requires_grad_()
        with torch.enable_grad():
            eps = {name: e[:, rows] for name, e in self.eps.items()}
            value = self.f.of(rows)(self.parameters(z), eps)
        return value.detach(), torch.autograd.grad(value.sum(), z)[0]

    def parameters(self, z: Tensor) -> Parameters:
        pieces = z.split([part[0].numel() for part in self.like.values()], dim=1)
        return {
            name: piece.view(-1, *part.shape[1:])
            for (name, part), piece in zip(self.like.items(), pieces, strict=True)
        }
