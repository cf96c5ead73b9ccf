"""Dormand and Prince's method of order 5 for many equations at once, each with steps of its own."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]  # (u (B,), state (B, m)) -> slope (B, m)
Norm = Callable[[Tensor, Tensor], Tensor]  # (state (B, m), its error (B, m)) -> size (B,)
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
# The last stage is the result; these weights of all slopes give its distance from order 4.
DEFECT = (
    71 / 57600,
    0.0,
    -71 / 16695,
    71 / 1920,
    -17253 / 339200,
    22 / 525,
    -1 / 40,
)


class Integration(NamedTuple):
    """Where B equations ended.

    Args:
        state: at the end.
        defect: sum over the steps of what `measure` makes of the difference between orders 5 and
            4: an error estimate, for smooth fields too large, since it is that of order 4.
        evaluations: of the slope, for each equation.
    """

    state: Float[Tensor, "b m"]
    defect: Float[Tensor, " b"]
    evaluations: Float[Tensor, " b"]


def integrate(
    field: Field,
    state: Float[Tensor, "b m"],
    start: float,
    end: float,
    *,
    n_steps: int,
    measure: Measure,
    after_step: Callable[[float], None] | None = None,
) -> Integration:
    """n_steps equal steps from start to end > start: 6 slopes a step, and one more.

    Args:
        measure: of the error of a step, given where it ended; added up over the steps.
        after_step: is told which part of the way was made.

    Source: Dormand & Prince 1980, doi:10.1016/0771-050X(80)90013-3.
    """
    if n_steps < 1:
        raise ValueError(f"integrate: n_steps must be at least 1, got {n_steps}.")
    size = torch.full_like(state[:, 0], (end - start) / n_steps)
    defect, slope = torch.zeros_like(size), field(torch.full_like(size, start), state)
    for k in range(n_steps):
        u = torch.full_like(size, start + (end - start) * k / n_steps)
        state, local, slope = _step(field, u, size, state, slope)
        defect = defect + measure(u + size, state, slope, local)
        if after_step:
            after_step(1 / n_steps)
    return Integration(state, defect, torch.full_like(size, 6 * n_steps + 1))


def integrate_adaptively(
    field: Field,
    state: Float[Tensor, "b m"],
    start: float,
    end: float,
    *,
    tolerance: float,
    norm: Norm,
    measure: Measure,
    first_step: float,
    after_step: Callable[[float], None] | None = None,
) -> Integration:
    """Steps as long as the tolerance allows, for each equation by itself.

    A step is accepted if the `norm` of its defect is at most the tolerance; the next one is
    0.9 (tolerance / norm)^(1/5) times as long, at least a fifth and at most five times. What
    becomes of an equation does not depend on the others in the batch.

    Raises:
        RuntimeError: a slope that is not finite, or steps that shrink to nothing.
    """
    u = torch.full_like(state[:, 0], start)
    size = torch.full_like(u, min(first_step, end - start))
    state, defect, slope = state.clone(), torch.zeros_like(u), field(u, state)
    evaluations, floor = torch.ones_like(u), 1e-10 * (end - start)
    while (active := u < end).any():
        rows = active.nonzero()[:, 0]
        h = torch.minimum(size[rows], end - u[rows])
        ahead, local, last = _step(field, u[rows], h, state[rows], slope[rows])
        evaluations[rows] += 6
        error = norm(ahead, local) / tolerance
        if not error.isfinite().all() or (h < floor).any():
            raise RuntimeError(
                "integrate_adaptively: the slope is not finite, or too rough for any step. Look "
                "at the denoiser's output, or take a larger tolerance."
            )
        good = error <= 1
        kept = rows[good]
        state[kept], slope[kept] = ahead[good], last[good]
        defect[kept] += measure(u[rows] + h, ahead, last, local)[good]
        arrived = u[rows] + h >= end - floor
        u[kept] = torch.where(arrived, torch.full_like(h, end), u[rows] + h)[good]
        size[rows] = h * (0.9 * error.clamp(min=1e-10).pow(-0.2)).clamp(0.2, 5.0)
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
    return sum(w * slope for w, slope in zip(weights, slopes, strict=True) if w)
