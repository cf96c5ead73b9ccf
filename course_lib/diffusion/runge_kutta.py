"""Dormand and Prince's method of order 5 for many equations at once, each with steps of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]  # (u (B,), state (B, m)) -> slope (B, m)
Norm = Callable[[Tensor], Tensor]  # error of a step (B, m) -> its size (B,)
Measure = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # (u, state, slope, error) -> (B,)

NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
# The last stage is the result; these weights of all slopes give its difference to order 4.
DEFECT = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


@dataclass(frozen=True)
class EqualSteps:
    """n steps of equal length.

    Raises:
        ValueError: n < 1.
    """

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"EqualSteps: the number of steps must be at least 1, got {self.n}.")

    def first(self, span: float) -> float:
        """span / n."""
        return span / self.n

    def judge(self, error: Float[Tensor, " b"]) -> tuple[Bool[Tensor, " b"], float]:
        """Which steps are accepted, and the ratio of the next length to theirs: all, and 1."""
        return torch.ones_like(error, dtype=torch.bool), 1.0


@dataclass(frozen=True)
class AdaptiveSteps:
    """Steps as long as their error allows, for each equation by itself.

    A step is accepted if its error is at most atol; the next one is 0.9 (atol / error)^(1/5) times
    as long, at least a fifth and at most five times.

    Args:
        atol: largest error of one step.
        first_step: length of the first one.
    """

    atol: float
    first_step: float = 0.5

    def first(self, span: float) -> float:
        """first_step, or the whole span."""
        return min(self.first_step, span)

    def judge(self, error: Float[Tensor, " b"]) -> tuple[Bool[Tensor, " b"], Float[Tensor, " b"]]:
        """The rule of the heading.

        Raises:
            RuntimeError: an error that is not finite.
        """
        ratio = error / self.atol
        if not ratio.isfinite().all():
            raise RuntimeError("AdaptiveSteps: the slope is not finite. Look at the denoiser.")
        return ratio <= 1, (0.9 * ratio.clamp(min=1e-10).pow(-0.2)).clamp(0.2, 5.0)


class Integration(NamedTuple):
    """End of B equations.

    Args:
        state: at the end.
        defect: sum over the steps of what `measure` makes of the difference between orders 5 and
            4: an error estimate, too large for smooth fields, since it is that of order 4.
        evaluations: number of slopes, for each equation.
    """

    state: Float[Tensor, "b m"]
    defect: Float[Tensor, " b"]
    evaluations: Float[Tensor, " b"]


def integrate(
    field: Field,
    state: Float[Tensor, "b m"],
    start: float,
    end: float,
    steps: int | EqualSteps | AdaptiveSteps,
    *,
    norm: Norm,
    measure: Measure,
    after_step: Callable[[float], object] | None = None,
) -> Integration:
    """Integrate d state / du = field(u, state) from start to end > start, 6 slopes a step.

    What becomes of an equation does not depend on the others in the batch.

    Args:
        steps: rule for their lengths; a number means steps of equal length.
        norm: error of a step to the number that the rule judges.
        measure: error of a step, given where it ended, to what is added up as the defect.
        after_step: called with the part of the way that a step has made.

    Raises:
        RuntimeError: steps that shrink to nothing.

    Source: Dormand & Prince 1980, doi:10.1016/0771-050X(80)90013-3.
    """
    steps = EqualSteps(steps) if isinstance(steps, int) else steps
    u = torch.full_like(state[:, 0], start)
    size = torch.full_like(u, steps.first(end - start))
    state, defect, slope = state.clone(), torch.zeros_like(u), field(u, state).clone()
    evaluations, floor = torch.ones_like(u), 1e-10 * (end - start)
    while (active := u < end).any():
        rows = active.nonzero()[:, 0]
        h = torch.minimum(size[rows], end - u[rows])
        if (h < floor).any():
            raise RuntimeError("integrate: the slope is too rough for any step. Increase atol.")
        ahead, local, last = _step(field, u[rows], h, state[rows], slope[rows])
        evaluations[rows] += 6
        good, growth = steps.judge(norm(local))
        kept, there = rows[good], u[rows] + h
        state[kept], slope[kept] = ahead[good], last[good]
        defect[kept] += measure(there, ahead, last, local)[good]
        u[kept] = torch.where(there >= end - floor, end, there)[good]
        size[rows] = h * growth
        if after_step:
            after_step(h[good].sum().item() / ((end - start) * len(u)))
    return Integration(state, defect, evaluations)


def _step(
    field: Field, u: Tensor, size: Tensor, state: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The state after a step, its defect, and the slope there, the first one of the next step."""
    h, slopes = size[:, None], [slope]
    for node, weights in zip(NODES[1:], STAGES[1:], strict=True):
        ahead = state + h * _combine(weights, slopes)
        slopes.append(field(u + node * size, ahead))
    return ahead, h * _combine(DEFECT, slopes), slopes[-1]


def _combine(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    terms = (w * slope for w, slope in zip(weights, slopes, strict=True) if w)
    return sum(terms, start=torch.zeros_like(slopes[0]))
