"""Proximal gradient, plain and accelerated: a smooth term by its gradient, a rough one by prox."""

from torch import Tensor

from course_lib.protocols import Proximable, Smooth
from course_lib.solvers.iterate import Row, iterate
from course_lib.solvers.momentum import Momentum
from course_lib.solvers.solution import Solution
from course_lib.solvers.step_size import fixed_step
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

    def step(x: Tensor) -> tuple[Tensor, Row]:
        return g.prox(x - tau * f.grad(x), tau), {"objective": f(x) + g(x)}

    return iterate(step, x0, max_iter=max_iter, rtol=rtol)


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
    ahead = Momentum()

    def step(x: Tensor) -> tuple[Tensor, Row]:
        z = ahead(x)
        return g.prox(z - tau * f.grad(z), tau), {"objective": f(x) + g(x)}

    return iterate(step, x0, max_iter=max_iter, rtol=rtol)
