"""Accelerated proximal gradient: the step of `proximal_gradient`, from a point ahead."""

import torch
from torch import Tensor

from course_lib.batch import inner, per_image
from course_lib.protocols import Proximable, Smooth
from course_lib.solvers.gradient import fixed_step
from course_lib.solvers.solution import History, Solution, status_of
from course_lib.validation import check_start


def accelerated_proximal_gradient(
    f: Smooth,
    g: Proximable,
    x0: Tensor,
    *,
    step_size: float | None = None,
    max_iter: int = 500,
    rtol: float = 1e-6,
) -> Solution:
    """Minimise f + g by x <- prox_{tau g}(z - tau grad f(z)) with z = x + beta (x - x_old).

    Momentum and restarts are those of `accelerated_gradient`: the objective falls like 1 / n^2,
    and linearly where f is strongly convex, be it only on the few coefficients that a sparse g
    leaves.

    Args:
        f, g, x0, max_iter, rtol: as in `proximal_gradient`.
        step_size: tau in (0, 1 / L], L = Lip(grad f); 1 / f.lipschitz by default.

    Returns:
        Solution with history "objective" (one row per iterate, x0 included) and "change".

    Source: Beck & Teboulle 2009, doi:10.1137/080716542 (FISTA); O'Donoghue & Candès 2015,
    doi:10.1007/s10208-013-9150-3 (restarts).
    """
    check_start("accelerated_proximal_gradient", x0)
    tau = fixed_step("accelerated_proximal_gradient", f, step_size, limit="1 / L")
    record = History("objective", "change")
    x = z = x0
    t = torch.ones(len(x), dtype=x.dtype, device=x.device)
    active = torch.ones(len(x), dtype=torch.bool, device=x.device)
    finite = active
    for _ in range(max_iter):
        record.add(objective=f(x) + g(x))
        x_new = torch.where(per_image(active, x), g.prox(z - tau * f.grad(z), tau), x)
        step = x_new - x
        change = inner(step, step).sqrt()
        record.add(change=change)
        t = torch.where(inner(z - x_new, step) > 0, 1, t)
        t_new = (1 + (1 + 4 * t.square()).sqrt()) / 2
        z = x_new + per_image((t - 1) / t_new, x) * step
        x, t, finite = x_new, t_new, change.isfinite()
        active = active & finite & (change > rtol * inner(x, x).sqrt())
        if not active.any():
            break
    record.add(objective=f(x) + g(x))
    history = record.stack()
    return Solution(x, status_of(~active & finite, ~finite), history, len(history["change"]))
