r"""Exact total variation by a primal-dual method: the reference that smoothing approaches."""

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.finite_differences import gradient, gradient_adjoint
from course_lib.protocols import Linear
from course_lib.solvers.iterate import Row, iterate
from course_lib.solvers.solution import Solution
from course_lib.validation import check_measurement


def primal_dual_tv(
    op: Linear,
    y: Tensor,
    lam: float,
    *,
    x0: Tensor | None = None,
    step_size: float = 0.3,
    max_iter: int = 1000,
    rtol: float = 1e-6,
) -> Solution:
    r"""argmin_u 1/2 |A u - y|^2 + lam TV(u), TV(u) = sum over pixels of |grad u|, periodic.

    The saddle point of 1/2 |A u - y|^2 + <grad u, p> over images u and fields |p| <= lam is
    approached by a step in p, a projection of each vector of p on the disc of radius lam, and a
    proximal step in u, which every operator offers as `prox_l2`. Channels are independent.

    Args:
        op: a linear operator with `prox_l2`.
        y: (B, *op.measurement_size).
        lam: weight >= 0.
        x0: starting point; A^T y by default.
        step_size: of u; that of p is 1 / (8 step_size), which is as large as |grad|^2 <= 8 permits.
        max_iter, rtol: an image stops once |u_new - u| <= rtol |u_new|.

    Returns:
        Solution with history "objective" (one row per iterate, x0 included) and "change".

    Source: Chambolle & Pock 2011, doi:10.1007/s10851-010-0251-1.
    """
    check_measurement("primal_dual_tv", op, y)
    if not lam >= 0 or not step_size > 0:
        raise ValueError(
            f"primal_dual_tv: expected lam >= 0 and step_size > 0, got {lam} and {step_size}."
        )
    x = op.A_adjoint(y)
    if x0 is not None:
        if x0.shape != x.shape:
            raise ValueError(
                f"primal_dual_tv: expected x0 of shape {tuple(x.shape)}, got {tuple(x0.shape)}."
            )
        x = x0
    old, p = x, torch.zeros_like(gradient(x))

    def step(x: Tensor) -> tuple[Tensor, Row]:
        nonlocal old, p
        ahead, old = 2 * x - old, x
        p = _project(p + gradient(ahead) / (8 * step_size), lam)
        x_new = op.prox_l2(x - step_size * gradient_adjoint(p), y, step_size)
        return x_new, {"objective": _objective(op, y, lam, x)}

    return iterate(step, x, max_iter=max_iter, rtol=rtol)


def _objective(op: Linear, y: Tensor, lam: float, x: Tensor) -> Float[Tensor, "b"]:
    fit = (op.A(x) - y).flatten(1).square().sum(1) / 2
    return fit + lam * gradient(x).square().sum(0).sqrt().flatten(1).sum(1)


def _project(p: Float[Tensor, "2 ..."], radius: float) -> Float[Tensor, "2 ..."]:
    """Each vector of the field on the disc of this radius."""
    length = p.square().sum(0).sqrt()
    return p * (radius / length.clamp(min=radius if radius > 0 else 1))
