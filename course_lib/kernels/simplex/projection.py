r"""Exact projection on the probability simplex {p >= 0, sum p = 1}, for blur kernels and mixtures.

The nearest point is p = (v - tau)_+ with the one tau that makes it sum to 1. Around a v with
support S = {p > 0} it is linear, with Jacobian I_S - 1_S 1_S^T / |S|: a gradient loses its mean
over S, and a zero entry receives none.

Source: Held, Wolfe & Crowder, "Validation of subgradient optimization", Math. Programming 1974,
doi:10.1007/BF01580223.
"""

from typing import Any

import torch
from torch import Tensor

from course_lib.kernels.backend import Backend, choose_backend, implementation


def project_simplex(v: Tensor, *, backend: Backend = "auto") -> Tensor:
    """argmin_p |p - v| over the probability simplex, for each row of v.

    Args:
        v: (..., n), finite; each vector along the last axis is projected.
        backend: "auto", "reference", "numba" or "triton"; all are differentiable.

    Returns:
        (..., n).
    """
    if v.ndim == 0 or v.shape[-1] == 0:
        raise ValueError(
            f"project_simplex: expected shape (..., n) with n >= 1, got {tuple(v.shape)}. "
            "The simplex of no entries is empty."
        )
    if not v.is_floating_point():
        raise ValueError(
            f"project_simplex: expected floating-point numbers, got {v.dtype}. Use v.float()."
        )
    if not v.isfinite().all():
        raise ValueError(
            f"project_simplex: v holds {(~v.isfinite()).sum()} values that are NaN or infinite; "
            "no point of the simplex is nearest to it. Find where they arise."
        )
    return _Project.apply(v, choose_backend(backend, v.detach()))


class _Project(torch.autograd.Function):
    """The projection p and its Jacobian I_S - 1_S 1_S^T / |S|."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, backend: Backend) -> Tensor:
        project = implementation("simplex", backend).project
        rows = v.detach().reshape(-1, v.shape[-1]).contiguous()
        p = (project(rows) if len(rows) else rows).reshape(v.shape)
        ctx.save_for_backward(p > 0)
        return p

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None]:
        (support,) = ctx.saved_tensors
        inside = weight * support
        mean = inside.sum(-1, keepdim=True) / support.sum(-1, keepdim=True)
        return inside - support * mean, None
