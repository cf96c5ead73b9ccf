"""The weight of the prior without the truth: what is left of the data must look like noise."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.batch import per_image
from course_lib.solvers import Solution

WEIGHTS = (0.08, 0.12, 0.18, 0.27, 0.4, 0.6)
TARGET = 0.97  # below 1, since an estimate has followed part of the noise; chosen on six
# photographs of the training half of BSDS500, for two blurs, x2 and half of the pixels lost


class Matched(NamedTuple):
    """Estimates, each with the weight that suits its noise.

    Attributes:
        x: (B, C, H, W).
        weight: the chosen weight of each image, (B,).
        misfit: |A x - y| / (sigma sqrt(m)) of each image, (B,).
    """

    x: Float[Tensor, "b c h w"]
    weight: Float[Tensor, " b"]
    misfit: Float[Tensor, " b"]


def matched_to_noise(
    run: Callable[[float], Solution],
    weights: Sequence[float] = WEIGHTS,
    target: float = TARGET,
) -> Matched:
    """For each image the run whose misfit ends nearest to the target (in ratio).

        found = matched_to_noise(lambda w: half_quadratic_splitting(op, y, D, sigma=s, weight=w))

    Args:
        run: a weight in, a `Solution` with history "misfit" out.
        weights: those to try.
        target: the misfit to end with; 1 is Morozov's discrepancy principle.

    Raises:
        ValueError: no weight, or a target that is not positive.

    Source: Morozov 1966; the smaller target is ours.
    """
    if not len(weights) or not target > 0:
        raise ValueError(
            f"matched_to_noise: expected weights and a positive target, got {weights} and {target}."
        )
    best: Matched | None = None
    for weight in weights:
        solution = run(weight)
        x, misfit = solution.x, solution.history["misfit"][-1].to(solution.x)
        here = Matched(x, torch.full_like(misfit, weight, dtype=torch.float64), misfit)
        best = here if best is None else _closer(here, best, target)
    assert best is not None
    return best


def _closer(here: Matched, best: Matched, target: float) -> Matched:
    """Image by image the one that is nearer to the target; the first of equals."""
    gaps = [(found.misfit / target).log().abs().nan_to_num(torch.inf) for found in (here, best)]
    nearer = gaps[0] < gaps[1]
    x = torch.where(per_image(nearer, here.x), here.x, best.x)
    pairs = zip(here[1:], best[1:], strict=True)
    return Matched(x, *(torch.where(nearer, a, b) for a, b in pairs))
