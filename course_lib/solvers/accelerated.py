"""Accelerated gradient descent with restarts, and continuation in a parameter."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from course_lib.batch import norm
from course_lib.protocols import ImageMap, Smooth
from course_lib.solvers.iterate import Row, identity, iterate
from course_lib.solvers.momentum import Momentum
from course_lib.solvers.solution import Solution
from course_lib.solvers.step_size import fixed_step
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

    The growing beta of `Momentum` brings the objective down like 1 / n^2. Its restarts give linear
    convergence under strong convexity without knowing the constant.

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
    project, ahead = project or identity, Momentum()

    def row(x: Tensor, g: Tensor) -> Row:
        return {"objective": f(x), "gradient_norm": norm(g)}

    def step(x: Tensor) -> tuple[Tensor, Row]:
        z = ahead(x)
        g = f.grad(z)
        return project(z - tau * g), row(x, g)

    return iterate(
        step, project(x0), max_iter=max_iter, rtol=rtol, last=lambda x: row(x, f.grad(x))
    )


def continuation(
    problem: Callable[[float], Smooth],
    x0: Tensor,
    levels: Iterable[float],
    *,
    solver: Callable[..., Solution] = accelerated_gradient,
    **options: Any,
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
