"""Conjugate gradients for symmetric positive definite maps."""

from dataclasses import replace

import torch
from torch import Tensor

from course_lib.batch import inner, norm, per_image, ratio
from course_lib.protocols import ImageMap
from course_lib.solvers.iterate import Row, iterate
from course_lib.solvers.solution import Solution
from course_lib.validation import check_start


def conjugate_gradient(
    H: ImageMap,
    b: Tensor,
    x0: Tensor | None = None,
    *,
    max_iter: int = 500,
    rtol: float = 1e-6,
) -> Solution:
    """Solve H x = b for every image of a batch at once.

    Args:
        H: symmetric positive semi-definite linear map, (B, ...) -> (B, ...). For the normal
            equations of ridge regression it is `lambda u: op.A_adjoint(op.A(u)) + lam * u`.
            If H is singular, start from zero: the iterates stay in its range and reach the
            minimum-norm solution.
        b: right-hand sides, (B, ...).
        x0: starting point, zeros by default.
        max_iter, rtol: stop an image once |b - H x| <= rtol |b|.

    Returns:
        Solution with history "residual": |b - H x| / |b| of x_1, ..., x_n.

    Source: Hestenes & Stiefel 1952, doi:10.6028/jres.049.044.
    """
    check_start("conjugate_gradient", b, "b")
    x = torch.zeros_like(b) if x0 is None else x0
    check_start("conjugate_gradient", x)
    r = p = b - H(x)
    scale = norm(b).clamp(min=torch.finfo(b.dtype).tiny)

    def residual() -> Tensor:
        return norm(r) / scale

    def step(x: Tensor) -> tuple[Tensor, Row]:
        nonlocal r, p
        row, Hp, rho = {"residual": residual()}, H(p), inner(r, r)
        curvature = inner(p, Hp)
        # An image that has converged takes step 0; so does a direction in the kernel of H.
        moves = ~(row["residual"] <= rtol) & (curvature != 0)
        alpha = ratio(rho, curvature, moves)
        x, r = x + per_image(alpha, x) * p, r - per_image(alpha, x) * Hp
        beta = ratio(inner(r, r), rho, moves)
        p = r + per_image(beta, x) * p
        return x, row

    found = iterate(
        step,
        x,
        max_iter=max_iter,
        rtol=rtol,
        error=residual,
        last=lambda _: {"residual": residual()},
    )
    residuals = found.without_start().history["residual"]
    return replace(found, history={"residual": residuals})
