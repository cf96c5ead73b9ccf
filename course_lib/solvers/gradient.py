"""Gradient descent: fixed step, optimal step, and the projected variant."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from course_lib.batch import inner, per_image
from course_lib.protocols import ImageMap, Smooth
from course_lib.solvers.solution import History, Solution, status_of
from course_lib.validation import check_start


def gradient_descent(
    f: Smooth,
    x0: Tensor,
    *,
    step_size: float | Literal["optimal"] | None = None,
    max_iter: int = 500,
    rtol: float = 1e-6,
    project: ImageMap | None = None,
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

    Returns:
        Solution; history has rows for the iterates x_0, ..., x_n: "objective" and
        "gradient_norm", and "change" = |x_{k+1} - x_k| (one row less).

    Raises:
        ValueError: x0 without batch axis or not finite, a step that is not positive.
        TypeError: "optimal" for an f without `hvp`, or None for an f without `lipschitz`.

    Source: Nesterov 2004, sections 1.2.3 and 2.1.5; Nocedal & Wright 2006, section 3.3.
    """
    check_start("gradient_descent", x0)
    step_of = _step_rule(f, step_size)
    project = project or (lambda u: u)
    record = History("objective", "gradient_norm", "change")
    x = project(x0)
    active = torch.ones(len(x), dtype=torch.bool, device=x.device)
    finite = active
    for _ in range(max_iter):
        g = f.grad(x)
        record.add(objective=f(x), gradient_norm=inner(g, g).sqrt())
        x_new = project(x - step_of(g) * g)
        x_new = torch.where(per_image(active, x), x_new, x)
        change = inner(x_new - x, x_new - x).sqrt()
        record.add(change=change)
        x, finite = x_new, change.isfinite()
        active = active & finite & (change > rtol * inner(x, x).sqrt())
        if not active.any():
            break
    g = f.grad(x)
    record.add(objective=f(x), gradient_norm=inner(g, g).sqrt())
    history = record.stack()
    return Solution(x, status_of(~active & finite, ~finite), history, len(history["change"]))


def _step_rule(f: Smooth, step_size: float | str | None) -> Callable[[Tensor], float | Tensor]:
    """The map from a gradient to the step taken along it."""
    if step_size == "optimal":
        if not hasattr(f, "hvp"):
            raise TypeError(
                f"gradient_descent: step_size='optimal' needs f.hvp(v), the Hessian times v, which "
                f"{type(f).__name__} does not have. Give a number below 2 / L instead."
            )
        return lambda g: per_image(_optimal_step(g, f.hvp(g)), g)
    tau = fixed_step("gradient_descent", f, step_size)
    return lambda g: tau


def fixed_step(name: str, f: Smooth, step_size: float | None, limit: str = "2 / L") -> float:
    """The step that was given, or 1 / f.lipschitz; an error if there is neither."""
    if step_size is None:
        if not hasattr(f, "lipschitz"):
            raise TypeError(
                f"{name}: {type(f).__name__} has no attribute `lipschitz`, so there is no default "
                f"step. Give step_size as a number below {limit}."
            )
        if not f.lipschitz > 0:
            raise ValueError(
                f"{name}: f.lipschitz is {f.lipschitz}, so there is no default step. "
                "A functional with a constant gradient has no curvature: give step_size."
            )
        return 1 / f.lipschitz
    if isinstance(step_size, str) or not step_size > 0:
        raise ValueError(
            f"{name}: step_size must be a positive number or None (and in gradient_descent "
            f"'optimal'), got {step_size!r}. Descent is guaranteed below {limit}."
        )
    return step_size


def _optimal_step(g: Tensor, Hg: Tensor) -> Tensor:
    """|g|^2 / <g, H g> per image; 0 where the gradient or the curvature vanishes."""
    curvature = inner(g, Hg)
    flat = curvature == 0
    return torch.where(flat, 0, inner(g, g) / torch.where(flat, 1, curvature))
