"""L-BFGS and Adam for a batch of small problems, each minimised on its own.

torch's optimisers treat a batch as one problem: one line search, one curvature for all. Here every
row has its own, so that no image's answer depends on its neighbours.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from course_lib.batch import inner
from course_lib.solvers.solution import History

WINDOW = 10  # steps over which an objective must rest: Adam may stand still for a single one
Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # (z[rows], rows) -> value, gradient
Step = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, ...]]


@runtime_checkable
class Rowwise(Protocol):
    """A function of each row of z: values (n,) and gradients at the rows that are asked for."""

    def value_and_grad(self, z: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Values and gradients at the rows z of all rows."""
        ...


@dataclass(frozen=True)
class LBFGS:
    """z <- z - t H grad, with H from the last steps and changes of the gradient.

    Each row has its own H and its own t, the first of 1, 0.3, 0.09, ... with sufficient decrease.
    Needs a tenth of the steps of Adam and finds more digits.

    Args:
        max_iter: largest number of steps.
        step_size: length of the first step, in root mean square.
        rtol: a row has converged once its objective varies by at most rtol times its value over
            ten steps.
        history: number of pairs of step and change of gradient that H remembers.

    Raises:
        ValueError: an option out of its range.

    Source: Nocedal & Wright 2006, algorithms 7.4 and 3.1.
    """

    max_iter: int = 500
    step_size: float = 0.05
    rtol: float = 1e-6
    history: int = 10

    def __post_init__(self) -> None:
        _check_options(self)

    def start(self, evaluate: Evaluate) -> Step:
        """The step from one iterate to the next; it remembers the last pairs."""
        return _LBFGSStep(evaluate, self)


@dataclass(frozen=True)
class Adam:
    """z <- z - step_size * mean(gradient) / rms(gradient), means over the last steps.

    Args:
        max_iter: largest number of steps.
        step_size: learning rate, about the change of each number in one step.
        rtol: as for `LBFGS`.

    Raises:
        ValueError: an option out of its range.

    Source: Kingma & Ba 2015, arXiv:1412.6980.
    """

    max_iter: int = 500
    step_size: float = 0.05
    rtol: float = 1e-6

    def __post_init__(self) -> None:
        _check_options(self)

    def start(self, evaluate: Evaluate) -> Step:
        """The step from one iterate to the next; it remembers the means."""
        return _AdamStep(evaluate, self)


class Descent(NamedTuple):
    """Where each of n descents was lowest, and how it went."""

    z: Float[Tensor, "n ..."]  # where the objective was least
    value: Float[Tensor, " n"]  # there
    converged: Bool[Tensor, " n"]
    history: Float[Tensor, "rows n"]  # the objective after each step, the start first; on the CPU


def minimise(f: Rowwise, z: Tensor, optimiser: LBFGS | Adam) -> Descent:
    """Minimise f in each row of z; rows that have converged or left the finite numbers freeze."""
    shape, z = z.shape, z.flatten(1)

    def evaluate(z: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        value, grad = f.value_and_grad(z.unflatten(1, shape[1:]), rows)
        return value, grad.flatten(1)

    step = optimiser.start(evaluate)
    rows = torch.arange(len(z), device=z.device)
    value, grad = evaluate(z, rows)
    best_z, best = z, value
    converged = torch.zeros_like(value, dtype=torch.bool)
    idle = torch.zeros_like(rows)  # steps in a row that did not move z at all
    recent = deque([value], maxlen=WINDOW + 1)
    history = History("objective")
    history.add(objective=value)
    for _ in range(optimiser.max_iter):
        old_z = z
        z, value, grad = step(z, value, grad, rows)
        history.add(objective=value)
        best_z = torch.where((value < best)[:, None], z, best_z)
        best = torch.where(value < best, value, best)
        recent.append(value)
        idle = torch.where((z == old_z).all(1), idle + 1, 0)
        converged = converged | (idle >= 2)  # the second try went down the gradient, in vain
        if len(recent) > WINDOW:
            window = torch.stack(tuple(recent))
            spread = window.amax(0) - window.amin(0)
            converged = converged | (spread <= optimiser.rtol * value.abs())
        rows = (~converged & value.isfinite()).nonzero().squeeze(1)
        if not len(rows):
            break
    converged = converged & value.isfinite()  # rows of NaN do not move either
    return Descent(best_z.view(shape), best, converged, history.stack()["objective"])


class _AdamStep:
    def __init__(self, evaluate: Evaluate, options: Adam) -> None:
        self.evaluate, self.step_size = evaluate, options.step_size
        self.mean = self.square = 0.0
        self.count = 0

    def __call__(self, z: Tensor, value: Tensor, grad: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        self.count += 1
        self.mean = 0.9 * self.mean + 0.1 * grad
        self.square = 0.999 * self.square + 0.001 * grad.square()
        rms = (self.square / (1 - 0.999**self.count)).sqrt()
        move = self.mean / (1 - 0.9**self.count) / (rms + 1e-8)
        new = z[rows] - self.step_size * move[rows]
        return _replaced(rows, (z, value, grad), (new, *self.evaluate(new, rows)))


class _LBFGSStep:
    """A row without any admissible t stays and forgets its pairs: the next try is the gradient's.

    A pair without positive curvature counts for nothing.
    """

    def __init__(self, evaluate: Evaluate, options: LBFGS) -> None:
        self.evaluate, self.step_size = evaluate, options.step_size
        self.pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=options.history)
        self.scale = torch.empty(0)  # of H before the pairs correct it, (n, 1)

    def __call__(self, z: Tensor, value: Tensor, grad: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        if not len(self.scale):
            self.scale = self._first_scale(grad)
        direction = -self._inverse_hessian(grad)
        slope = inner(grad, direction)
        old_z, old_grad, todo, t = z, grad, rows, 1.0
        for _ in range(12):  # 0.3^11 is 2e-6: shorter steps are of no use
            trial = z[todo] + t * direction[todo]
            trial_value, trial_grad = self.evaluate(trial, todo)
            good = trial_value <= value[todo] + 1e-4 * t * slope[todo]
            found = (trial[good], trial_value[good], trial_grad[good])
            z, value, grad = _replaced(todo[good], (z, value, grad), found)
            todo, t = todo[~good], 0.3 * t
            if not len(todo):
                break
        self._learn(z - old_z, grad - old_grad)
        self._forget(todo, grad)
        return z, value, grad

    def _inverse_hessian(self, q: Tensor) -> Tensor:
        weights = []
        for step, change, curvature in reversed(self.pairs):
            weights.append(curvature * _dot(step, q))
            q = q - weights[-1] * change
        q = self.scale * q
        for (step, change, curvature), weight in zip(self.pairs, reversed(weights), strict=True):
            q = q + (weight - curvature * _dot(change, q)) * step
        return q

    def _learn(self, step: Tensor, change: Tensor) -> None:
        product = _dot(step, change)
        eps = torch.finfo(step.dtype).eps
        valid = product > eps * step.norm(dim=1, keepdim=True) * change.norm(dim=1, keepdim=True)
        self.pairs.append((step, change, torch.where(valid, 1 / product, 0)))
        self.scale = torch.where(valid, product / _dot(change, change), self.scale)

    def _forget(self, rows: Tensor, grad: Tensor) -> None:
        for _, _, curvature in self.pairs:
            curvature[rows] = 0
        self.scale[rows] = self._first_scale(grad[rows])

    def _first_scale(self, grad: Tensor) -> Tensor:
        """Makes a step down the gradient step_size long, in root mean square."""
        rms = grad.square().mean(1, keepdim=True).sqrt()
        return self.step_size / rms.clamp(min=torch.finfo(grad.dtype).tiny)


def _replaced(rows: Tensor, old: tuple[Tensor, ...], new: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The old tensors with their `rows` replaced."""
    return tuple(a.index_copy(0, rows, b) for a, b in zip(old, new, strict=True))


def _dot(a: Tensor, b: Tensor) -> Float[Tensor, "n 1"]:
    return inner(a, b)[:, None]


def _check_options(options: LBFGS | Adam) -> None:
    name = type(options).__name__
    if options.max_iter < 1 or getattr(options, "history", 1) < 1:
        raise ValueError(f"{name}: max_iter and history must be at least 1, got {options}.")
    if not 0 < options.step_size < math.inf:
        raise ValueError(f"{name}: step_size must be positive and finite, got {options.step_size}.")
    if not 0 <= options.rtol < math.inf:
        raise ValueError(f"{name}: rtol must be finite and not negative, got {options.rtol}.")
