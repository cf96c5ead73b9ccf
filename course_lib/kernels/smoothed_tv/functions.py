r"""Smoothed total variation: its value and its gradient.

TV_eps(u) = sum over pixels x and channels of sqrt(eps^2 + |grad u(x)|^2), with forward differences
and the Euclidean norm of the two differences at a pixel; channels do not interact. Its gradient
grad^T (grad u / sqrt(eps^2 + |grad u|^2)) is 8/eps-Lipschitz, and no better at a constant image
whose sides are even: there the Hessian is grad^T grad / eps.

Boundaries: "periodic", as everywhere in the course, or "neumann", differences across the border
count as 0.

Source: Vogel & Oman, "Iterative methods for total variation denoising", SIAM J. Sci. Comput. 1996,
doi:10.1137/0917016.
"""

import math
from typing import Any

import torch
from torch import Tensor

from course_lib.kernels.backend import choose_backend, implementation, needs_gradient

BOUNDARIES = ("periodic", "neumann")


def smoothed_tv_value(
    u: Tensor, eps: float, *, boundary: str = "periodic", backend: str = "auto"
) -> Tensor:
    """TV_eps of each image.

    Args:
        u: (B, C, H, W).
        eps: > 0, in the unit of u.
        boundary: "periodic" or "neumann".
        backend: "auto", "reference", "numba" or "triton".

    Returns:
        (B,), differentiable twice, on every backend.
    """
    check_images("smoothed_tv_value", u, eps, boundary)
    chosen = choose_backend(backend, u.detach())
    if chosen != "reference" and needs_gradient(u):
        return _Value.apply(u, eps, boundary, chosen)
    return implementation("smoothed_tv", chosen).value(u, eps, boundary)


def smoothed_tv_grad(
    u: Tensor, eps: float, *, boundary: str = "periodic", backend: str = "auto"
) -> Tensor:
    """Gradient of TV_eps, of the shape of u; arguments as in `smoothed_tv_value`.

    Where a gradient with respect to u is recorded, "auto" runs the reference.
    """
    check_images("smoothed_tv_grad", u, eps, boundary)
    return implementation("smoothed_tv", choose_backend(backend, u)).grad(u, eps, boundary)


class _Value(torch.autograd.Function):
    """The value by a compiled kernel; its derivative is the other public function."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, eps: float, boundary: str, backend: str) -> Tensor:
        ctx.save_for_backward(u)
        ctx.eps, ctx.boundary = eps, boundary
        return implementation("smoothed_tv", backend).value(u, eps, boundary)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None, None, None]:
        (u,) = ctx.saved_tensors  # "auto" is the reference when a second derivative is recorded
        grad = smoothed_tv_grad(u, ctx.eps, boundary=ctx.boundary)
        return weight[:, None, None, None] * grad, None, None, None


def check_images(name: str, u: Tensor, eps: float, boundary: str) -> None:
    """Refuse what is no batch of real images, an eps that smooths nothing, an unknown boundary."""
    if u.ndim != 4 or 0 in u.shape:
        raise ValueError(
            f"{name}: expected images of shape (B, C, H, W), none of them 0, got {tuple(u.shape)}. "
            "For a single image (C, H, W) use u.unsqueeze(0)."
        )
    if not u.is_floating_point():
        raise ValueError(
            f"{name}: expected a real floating-point image, got {u.dtype}. Use u / 255."
        )
    if not (math.isfinite(eps) and eps > 0):
        raise ValueError(
            f"{name}: eps must be a finite number > 0, got {eps}. Exact total variation, eps = 0, "
            "has no gradient at flat places; it needs a proximal or primal-dual method."
        )
    if boundary not in BOUNDARIES:
        raise ValueError(
            f"{name}: boundary must be one of {', '.join(BOUNDARIES)}, got {boundary!r}."
        )
