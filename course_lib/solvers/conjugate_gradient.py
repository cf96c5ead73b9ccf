"""Conjugate gradients for symmetric positive definite maps."""

import torch
from torch import Tensor

from course_lib.batch import inner, per_image
from course_lib.protocols import ImageMap
from course_lib.solvers.solution import History, Solution, status_of
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
        Solution with history "residual": |b - H x| / |b|.

    Source: Hestenes & Stiefel 1952, doi:10.6028/jres.049.044.
    """
    check_start("conjugate_gradient", b, "b")
    x = torch.zeros_like(b) if x0 is None else x0
    check_start("conjugate_gradient", x)
    record = History("residual")
    r = b - H(x)
    p, rho = r, inner(r, r)
    scale = inner(b, b).sqrt().clamp(min=torch.finfo(b.dtype).tiny)
    done = rho.sqrt() <= rtol * scale
    for _ in range(max_iter):
        if (done | ~rho.isfinite()).all():
            break
        Hp = H(p)
        # A frozen image takes step 0; so does a direction in the kernel of H.
        curvature = inner(p, Hp)
        move = ~done & (curvature != 0)
        alpha = torch.where(move, rho / torch.where(move, curvature, 1), 0)
        x = x + per_image(alpha, x) * p
        r = r - per_image(alpha, r) * Hp
        rho_old, rho = rho, inner(r, r)
        beta = torch.where(move, rho / torch.where(move, rho_old, 1), 0)
        p = r + per_image(beta, p) * p
        record.add(residual=rho.sqrt() / scale)
        done = done | (rho.sqrt() <= rtol * scale)
    history = record.stack()
    return Solution(x, status_of(done, ~rho.isfinite()), history, len(history["residual"]))
