"""Gradient descent: fixed step, optimal step, and the projected variant."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from course_lib.batch import inner, norm, per_image, ratio
from course_lib.protocols import ImageMap, Quadratic, Smooth
from course_lib.solvers.iterate import Row, identity, iterate
from course_lib.solvers.solution import Solution
from course_lib.solvers.step_size import fixed_step
from course_lib.validation import check_start


def gradient_descent(
    f: Smooth,
    x0: Tensor,
    *,
    step_size: float | Literal["optimal"] | None = None,
    max_iter: int = 500,
    rtol: float = 1e-6,
    project: ImageMap | None = None,
    goal: Tensor | None = None,
) -> Solution:
    """Minimise f by x <- P_C(x - tau grad f(x)), each image of the batch on its own.

    Args:
        f: functional with `f(x)` -> (B,) and `f.grad(x)` -> (B, ...).
        x0: starting point, (B, ...).
        step_size: tau. A number: f decreases for tau in (0, 2 / L), L = Lip(grad f), and
            diverges on a quadratic beyond. None: 1 / f.lipschitz. "optimal": the exact minimiser
            of t -> f(x - t grad f(x)) for a quadratic f, |g|^2 / <g, H g> with `f.hvp` = H.
        max_iter, rtol: an image stops once |x_new - x| <= rtol |x_new|, and is then frozen.
        project: P_C, the orthogonal projection on a convex set; the identity by default.
        goal: a point such as a known minimiser, (B, ...); its distance is recorded.

    Returns:
        Solution; history has rows for the iterates x_0, ..., x_n: "objective" and
        "gradient_norm", "distance" = |x_k - goal| if there is a goal, and
        "change" = |x_{k+1} - x_k| (one row less).

    Raises:
        ValueError: x0 without batch axis or not finite, a step that is not positive, a goal of
            another shape.
        TypeError: "optimal" for an f without `hvp`, or None for an f without `lipschitz`.

    Source: Nesterov 2004, sections 1.2.3 and 2.1.5; Nocedal & Wright 2006, section 3.3.
    """
    check_start("gradient_descent", x0)
    project = project or identity
    tau = _step_rule(f, step_size)
    if goal is not None and goal.shape != x0.shape:
        raise ValueError(
            f"gradient_descent: the goal has shape {tuple(goal.shape)}, expected that of x0, "
            f"{tuple(x0.shape)}."
        )

    def step(x: Tensor) -> tuple[Tensor, Row]:
        g = f.grad(x)
        row = {"objective": f(x), "gradient_norm": norm(g)}
        if goal is not None:
            row["distance"] = norm(x - goal)
        return project(x - tau(g) * g), row

    return iterate(step, project(x0), max_iter=max_iter, rtol=rtol)


def _step_rule(
    f: Smooth, step_size: float | Literal["optimal"] | None
) -> Callable[[Tensor], float | Tensor]:
    """The map from a gradient to the step taken along it."""
    if step_size != "optimal":
        tau = fixed_step("gradient_descent", f, step_size)
        return lambda _: tau
    if not isinstance(f, Quadratic):
        raise TypeError(
            f"gradient_descent: step_size='optimal' needs f.hvp(v), the Hessian times v, which "
            f"{type(f).__name__} does not have. Give a number below 2 / L instead."
        )
    return lambda g: per_image(cauchy_step(g, f.hvp(g)), g)


def cauchy_step(g: Tensor, Hg: Tensor) -> Tensor:
    """|g|^2 / <g, H g> of each image; 0 where the gradient or the curvature vanishes."""
    curvature = inner(g, Hg)
    return ratio(inner(g, g), curvature, curvature != 0)
