"""Products with a banded factor, its inverse and their transposes, and their derivatives."""

from typing import Any

import torch
from torch import Tensor

from course_lib.kernels.backend import Backend, implementation

TRANSPOSED = {"matvec": "matvec_t", "matvec_t": "matvec", "solve": "solve_t", "solve_t": "solve"}


class Product(torch.autograd.Function):
    """y = M x for M = L, L^T, L^{-1} or L^{-T}; x and y are (S, B, H, W).

    With g the gradient at y and w = M^T g, the gradient at x is w, and the one at L is

        g x^T for L,    x g^T for L^T,    -w y^T for L^{-1},    -y w^T for L^{-T},

    of which only the entries inside the band are ever formed.
    """

    @staticmethod
    def forward(
        ctx: Any,
        method: str,
        diagonal: Tensor,
        offdiagonal: Tensor,
        x: Tensor,
        radius: int,
        backend: Backend,
    ) -> Tensor:
        """M x by one implementation."""
        product = getattr(implementation("banded_cholesky", backend), method)
        y = product(diagonal, offdiagonal, x, radius)
        ctx.save_for_backward(diagonal, offdiagonal, x if method.startswith("matvec") else y)
        ctx.method, ctx.options = method, (radius, backend)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients at L and x."""
        diagonal, offdiagonal, kept = ctx.saved_tensors  # x for a product, y for a solve
        method, sign, w = ctx.method, 1, None
        if ctx.needs_input_grad[3] or method.startswith("solve"):
            w = Product.apply(TRANSPOSED[method], diagonal, offdiagonal, g, *ctx.options)
            sign, g = (-1, w) if method.startswith("solve") else (1, g)
        if not any(ctx.needs_input_grad[1:3]):
            return None, None, None, w, None, None
        left, right = (kept, g) if method.endswith("_t") else (g, kept)
        grads = OuterProduct.apply(sign * left, right, *ctx.options)
        return None, *grads, w, None, None


class OuterProduct(torch.autograd.Function):
    """The entries of sum_s a_s b_s^T inside the band, as diagonal and off-diagonals.

    Their gradient, diagonal and off-diagonals too, is a banded matrix G: a receives G b, and b
    receives G^T a.
    """

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, radius: int, backend: Backend
    ) -> tuple[Tensor, Tensor]:
        """a b^T inside the band."""
        ctx.save_for_backward(a, b)
        ctx.options = radius, backend
        return implementation("banded_cholesky", backend).outer(a, b, radius)

    @staticmethod
    def backward(ctx: Any, diagonal: Tensor, offdiagonal: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients at a and b."""
        a, b = ctx.saved_tensors
        to_a = Product.apply("matvec", diagonal, offdiagonal, b, *ctx.options)
        to_b = Product.apply("matvec_t", diagonal, offdiagonal, a, *ctx.options)
        return to_a, to_b, None, None
