"""Descent for many small problems at once, each on its own way.

torch's optimisers treat a batch as one problem: one line search, one curvature for all. Here every
row has its own, so that no image's answer depends on its neighbours.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.batch import inner
from course_lib.solvers.solution import History

WINDOW = 10  # steps over which an objective must rest: Adam may stand still for a single one
Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # (z[rows], rows) -> value, gradient


@runtime_checkable
class Rowwise(Protocol):
    """A function of each row of z: values (n,) and gradients, for the rows that are asked for."""

    def value_and_grad(self, z: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]: ...


class Descent(NamedTuple):
    """Where each descent was lowest, and how it went."""

    z: Tensor  # (n, ...), where the objective was least
    value: Tensor  # (n,), there
    settled: Tensor  # (n,) bool
    objectives: Tensor  # (rows, n), on the CPU


def minimise(
    f: Rowwise, z: Tensor, method: str, steps: int, step_size: float, rtol: float
) -> Descent:
    """Each latent on its own way; one that has settled or left the finite numbers is frozen."""
    if method not in ("adam", "lbfgs"):
        raise ValueError(f"method must be 'adam' or 'lbfgs', got {method!r}.")
    if not 0 < step_size < math.inf:
        raise ValueError(f"step_size must be positive and finite, got {step_size}.")
    shape, z = z.shape, z.flatten(1)

    def evaluate(z: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        value, grad = f.value_and_grad(z.unflatten(1, shape[1:]), rows)
        return value, grad.flatten(1)

    step = _Adam(evaluate, step_size) if method == "adam" else _LBFGS(evaluate, step_size)
    rows = torch.arange(len(z), device=z.device)
    value, grad = evaluate(z, rows)
    best_z, best = z, value
    settled = torch.zeros_like(value, dtype=torch.bool)
    idle = torch.zeros_like(rows)  # steps in a row that did not move the latent at all
    recent = deque([value], maxlen=WINDOW + 1)
    record = History("objective")
    record.add(objective=value)
    for _ in range(steps):
        old_z = z
        z, value, grad = step(z, value, grad, rows)
        record.add(objective=value)
        best_z = torch.where((value < best)[:, None], z, best_z)
        best = torch.where(value < best, value, best)
        recent.append(value)
        idle = torch.where((z == old_z).all(1), idle + 1, 0)
        settled = settled | (idle >= 2)  # the second try went down the gradient, in vain
        if len(recent) > WINDOW:
            window = torch.stack(tuple(recent))
            settled = settled | (window.amax(0) - window.amin(0) <= rtol * value.abs())
        rows = (~settled & value.isfinite()).nonzero().squeeze(1)
        if not len(rows):
            break
    return Descent(best_z.view(shape), best, settled, record.stack()["objective"])


class _Adam:
    """z <- z - step_size * mean(gradient) / rms(gradient), means over the last steps.

    Source: Kingma & Ba 2015, arXiv:1412.6980.
    """

    def __init__(self, evaluate: Evaluate, step_size: float) -> None:
        self.evaluate, self.step_size = evaluate, step_size
        self.mean = self.square = 0.0
        self.count = 0

    def __call__(self, z: Tensor, value: Tensor, grad: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        self.count += 1
        self.mean = 0.9 * self.mean + 0.1 * grad
        self.square = 0.999 * self.square + 0.001 * grad.square()
        rms = (self.square / (1 - 0.999**self.count)).sqrt()
        move = self.mean / (1 - 0.9**self.count) / (rms + 1e-8)
        new = z[rows] - self.step_size * move[rows]
        new_value, new_grad = self.evaluate(new, rows)
        return (
            z.index_copy(0, rows, new),
            value.index_copy(0, rows, new_value),
            grad.index_copy(0, rows, new_grad),
        )


class _LBFGS:
    """z <- z - t H grad, with H from the last pairs of steps and changes of the gradient.

    Each row has its own H and its own t, the first of 1, 0.3, 0.09, ... with sufficient decrease.
    A pair without positive curvature counts for nothing, and a row without any admissible t keeps
    its place and forgets its pairs, so that its next step goes down the gradient.

    Source: Nocedal & Wright 2006, algorithms 7.4 and 3.1.
    """

    def __init__(self, evaluate: Evaluate, step_size: float, memory: int = 10) -> None:
        self.evaluate, self.step_size = evaluate, step_size
        self.pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=memory)
        self.scale: Tensor | None = None  # of H before the pairs correct it, (n, 1)

    def __call__(self, z: Tensor, value: Tensor, grad: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        if self.scale is None:
            self.scale = self._first_scale(grad)
        direction = -self._inverse_hessian(grad)
        slope = inner(grad, direction)
        old_z, old_grad, todo, t = z, grad, rows, 1.0
        for _ in range(12):  # 0.3^11 is 2e-6: shorter steps are of no use
            trial = z[todo] + t * direction[todo]
            trial_value, trial_grad = self.evaluate(trial, todo)
            good = trial_value <= value[todo] + 1e-4 * t * slope[todo]
            done = todo[good]
            z = z.index_copy(0, done, trial[good])
            value = value.index_copy(0, done, trial_value[good])
            grad = grad.index_copy(0, done, trial_grad[good])
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


def _dot(a: Tensor, b: Tensor) -> Float[Tensor, "n 1"]:
    return (a * b).sum(1, keepdim=True)
