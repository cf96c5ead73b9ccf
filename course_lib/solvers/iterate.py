"""The one loop of all solvers: it takes steps, freezes, records, and names how the run ended."""

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.batch import norm, per_image
from course_lib.solvers.solution import History, Solution, status_of

Row = dict[str, Tensor]  # what the history records of one iterate: name -> (B,)


def iterate(
    step: Callable[[Tensor], tuple[Tensor, Row]],
    x: Tensor,
    *,
    max_iter: int,
    rtol: float,
    error: Callable[[], Tensor] | None = None,
    last: Callable[[Tensor], Row] | None = None,
) -> Solution:
    """x <- step(x), image by image: one that has converged is frozen while the others go on.

    Args:
        step: x -> (x_new, row); the row records x.
        x: starting points, (B, ...).
        max_iter, rtol: an image has converged once |x_new - x| <= rtol |x_new|.
        error: () -> (B,), compared with rtol in place of the relative change, also at the start.
        last: x -> row of the last iterate, where one more `step` would be a waste.

    Returns:
        Solution; history has the rows of x_0, ..., x_n, and "change" = |x_{k+1} - x_k|.
    """
    if max_iter < 0 or not rtol >= 0:
        raise ValueError(
            f"A solver expects max_iter >= 0 and rtol >= 0, got {max_iter} and {rtol}."
        )
    history, n = History("change"), 0
    finite = torch.ones(len(x), dtype=torch.bool, device=x.device)
    active = finite if error is None else ~(error() <= rtol)
    while n < max_iter and active.any():
        x_new, row = step(x)
        x_new = torch.where(per_image(active, x), x_new, x)
        change = norm(x_new - x)
        history.add(**row, change=change)
        converged = change <= rtol * norm(x_new) if error is None else error() <= rtol
        x, finite, n = x_new, change.isfinite(), n + 1
        active = active & finite & ~converged
    history.add(**(last(x) if last else step(x)[1]))
    return Solution(x, status_of(~active, ~finite), history.stack(), n)


def identity(x: Tensor) -> Tensor:
    """The projection on the whole space."""
    return x
