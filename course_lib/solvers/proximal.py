"""Proximal gradient: a smooth term by its gradient, a rough one by its proximal map."""

import torch
from torch import Tensor

from course_lib.batch import inner, per_image
from course_lib.protocols import Proximable, Smooth
from course_lib.solvers.gradient import fixed_step
from course_lib.solvers.solution import History, Solution, status_of
from course_lib.validation import check_start


def proximal_gradient(
    f: Smooth,
    g: Proximable,
    x0: Tensor,
    *,
    step_size: float | None = None,
    max_iter: int = 500,
    rtol: float = 1e-6,
) -> Solution:
    """Minimise f + g by x <- prox_{tau g}(x - tau grad f(x)), each image of the batch on its own.

    Args:
        f: functional with `f(x)` -> (B,) and `f.grad(x)`.
        g: functional with `g(x)` -> (B,) and `g.prox(x, tau)`, the minimiser of
            g(u) + |u - x|^2 / (2 tau).
        x0: starting point, (B, ...).
        step_size: tau in (0, 1 / L], L = Lip(grad f); 1 / f.lipschitz by default.
        max_iter, rtol: an image stops once |x_new - x| <= rtol |x_new|, and is then frozen.

    Returns:
        Solution with history "objective" (one row per iterate, x0 included) and "change".

    Source: Beck & Teboulle 2009, doi:10.1137/080716542 (ISTA).
    """
    check_start("proximal_gradient", x0)
    tau = fixed_step("proximal_gradient", f, step_size, limit="1 / L")
    record = History("objective", "change")
    x, active = x0, torch.ones(len(x0), dtype=torch.bool, device=x0.device)
    finite = active
    for _ in range(max_iter):
        record.add(objective=f(x) + g(x))
        x_new = torch.where(per_image(active, x), g.prox(x - tau * f.grad(x), tau), x)
        change = inner(x_new - x, x_new - x).sqrt()
        record.add(change=change)
        x, finite = x_new, change.isfinite()
        active = active & finite & (change > rtol * inner(x, x).sqrt())
        if not active.any():
            break
    record.add(objective=f(x) + g(x))
    history = record.stack()
    return Solution(x, status_of(~active & finite, ~finite), history, len(history["change"]))
