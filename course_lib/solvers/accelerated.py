"""Accelerated gradient descent with restarts, and continuation in a parameter."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from course_lib.batch import inner, per_image
from course_lib.protocols import ImageMap, Smooth
from course_lib.solvers.gradient import fixed_step
from course_lib.solvers.solution import History, Solution, status_of
from course_lib.validation import check_start


def accelerated_gradient(
    f: Smooth,
    x0: Tensor,
    *,
    step_size: float | None = None,
    max_iter: int = 500,
    rtol: float = 1e-6,
    project: ImageMap | None = None,
) -> Solution:
    """Minimise f by gradient steps from a point ahead, z = x + beta (x - x_old).

    The momentum beta = (t - 1) / t_new with t_new = (1 + sqrt(1 + 4 t^2)) / 2 grows towards 1 and
    brings the objective down like 1 / n^2. It starts again from t = 1, image by image, whenever
    the step goes against the momentum, <z - x, x - x_old> > 0: with strong convexity this gives
    linear convergence without knowing the constant.

    Args:
        f, x0, max_iter, rtol, project: as in `gradient_descent`.
        step_size: tau in (0, 1 / L]; 1 / f.lipschitz by default.

    Returns:
        Solution with the history of `gradient_descent` ("objective", "gradient_norm", "change");
        the gradient is the one at z, in the last row at x.

    Source: Beck & Teboulle 2009, doi:10.1137/080716542; O'Donoghue & Candès 2015,
    doi:10.1007/s10208-013-9150-3 (restarts).
    """
    check_start("accelerated_gradient", x0)
    tau = fixed_step("accelerated_gradient", f, step_size, limit="1 / L")
    project = project or (lambda u: u)
    record = History("objective", "gradient_norm", "change")
    x = z = project(x0)
    t = torch.ones(len(x), dtype=x.dtype, device=x.device)
    active = torch.ones(len(x), dtype=torch.bool, device=x.device)
    finite = active
    for _ in range(max_iter):
        g = f.grad(z)
        record.add(objective=f(x), gradient_norm=inner(g, g).sqrt())
        x_new = torch.where(per_image(active, x), project(z - tau * g), x)
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
    g = f.grad(x)
    record.add(objective=f(x), gradient_norm=inner(g, g).sqrt())
    history = record.stack()
    return Solution(x, status_of(~active & finite, ~finite), history, len(history["change"]))


def continuation(
    problem: Callable[[float], Smooth],
    x0: Tensor,
    levels: Iterable[float],
    *,
    solver: Callable[..., Solution] = accelerated_gradient,
    **options,
) -> Solution:
    """Solve problem(level) for one level after the other, each from where the last one ended.

    With levels that fall, such as the eps of smoothed total variation, the easy problems do most
    of the way for the hard one.

    Args:
        problem: level -> functional.
        levels: from easy to hard.
        solver, options: for each level, as in `accelerated_gradient`.

    Returns:
        The last Solution, with the histories of all levels one behind the other.
    """
    histories, solution = [], None
    for level in levels:
        start = x0 if solution is None else solution.x
        solution = solver(problem(level), start, **options)
        histories.append(solution.history)
    if solution is None:
        raise ValueError("continuation: expected at least one level.")
    joined = {name: torch.cat([h[name] for h in histories]) for name in solution.history}
    return Solution(solution.x, solution.status, joined, len(joined["change"]))
