r"""The banded Cholesky factor of a precision matrix on the pixel grid: correlated noise, cheaply.

L is lower triangular in raster order, L_ii > 0, and pixel i is linked only to the earlier pixels
("causal neighbours") of the (2r+1) x (2r+1) patch around it. With Sigma^{-1} = L L^T,

    u = L^{-T} eps, eps ~ N(0, I)      is a draw of N(0, Sigma)         (back substitution)
    L^T u                              turns it back into white noise   (shifts and products)
    log det Sigma = -2 sum_i log L_ii

each in time linear in the number of pixels, though Sigma itself is dense.

Source: Dorta, Vicente, Agapito, Campbell & Simpson, "Structured uncertainty prediction networks",
CVPR 2018, arXiv:1802.07079; the derivative of a triangular solve: Giles, "Collected matrix
derivative results for forward and reverse mode AD", 2008, doi:10.1007/978-3-540-68942-3_4.
"""

import math
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

import torch
from torch import Generator, Tensor

from course_lib.kernels.backend import COMPILED_DTYPES, choose_backend
from course_lib.kernels.banded_cholesky._reference import causal_offsets
from course_lib.rng import check_generator, normal_like

TRANSPOSED = {"matvec": "matvec_t", "matvec_t": "matvec", "solve": "solve_t", "solve_t": "solve"}


@dataclass(frozen=True, eq=False)
class BandedCholesky:
    r"""A batch of factors L of precision matrices Sigma^{-1} = L L^T.

    Pixels are numbered i = row * W + column; off_k is the k-th of `causal_offsets(radius)`:

        (L x)_i   = d_i x_i + sum_k o_k(i) x(i + off_k)
        (L^T x)_j = d_j x_j + sum_k o_k(j - off_k) x(j - off_k)

    A neighbour outside the image counts as 0, whatever finite number o_k holds there.

    All methods take x of shape (..., B, 1, H, W), whose leading axes broadcast with the batch axis
    of L as everywhere in torch: (B, 1, H, W) gives image b to factor b, (S, B, 1, H, W) gives S
    images to each factor, and a single factor (B = 1) serves a batch of any size. They are
    differentiable any number of times in the diagonal, the off-diagonals and x, on every backend.

    Args:
        diagonal: (B, 1, H, W) > 0, finite, float32 or float64, in 1 / (unit of the image).
        offdiagonal: (B, m, H, W), finite, m = ((2 radius + 1)^2 - 1) / 2: 4, 12, 24 for patches
            of 3, 5, 7 pixels. Unit, dtype and device of the diagonal.
        radius: r >= 0; 0 is a diagonal L.
        backend: "auto", "reference", "numba" or "triton".

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, a number that is not finite, a
            diagonal that is not positive, an unknown backend or one that cannot serve.
    """

    diagonal: Tensor
    offdiagonal: Tensor
    radius: int
    backend: str = "auto"

    def __post_init__(self) -> None:
        check_factor(self.diagonal, self.offdiagonal, self.radius)
        choose_backend(self.backend, self.diagonal.detach())

    def matvec(self, x: Tensor) -> Tensor:
        """L x."""
        return self._run("matvec", x)

    def matvec_t(self, x: Tensor) -> Tensor:
        """L^T x: white noise if x is drawn from N(0, Sigma)."""
        return self._run("matvec_t", x)

    def solve(self, v: Tensor) -> Tensor:
        """L^{-1} v."""
        return self._run("solve", v)

    def solve_t(self, v: Tensor) -> Tensor:
        """L^{-T} v: a draw of N(0, Sigma) if v is white noise."""
        return self._run("solve_t", v)

    def log_det(self) -> Tensor:
        """log det L = sum_i log d_i = -1/2 log det Sigma of each factor, (B,), in nats."""
        return self.diagonal.log().flatten(1).sum(1)

    def sample(self, generator: Generator, n: int | None = None) -> Tensor:
        """Draws of N(0, Sigma): (B, 1, H, W), or n for each factor, (n, B, 1, H, W).

        Raises:
            TypeError: no generator.
            ValueError: n is no whole number >= 1.
        """
        check_generator("BandedCholesky.sample", generator)
        if n is not None and not (isinstance(n, int) and n >= 1):
            raise ValueError(f"BandedCholesky.sample: n must be a whole number >= 1, got {n!r}.")
        like = self.diagonal if n is None else self.diagonal.expand(n, *self.diagonal.shape)
        return self.solve_t(normal_like(like, generator))

    def dense(self) -> Tensor:
        """L as matrices (B, H W, H W), for small images: 64 x 64 pixels make 67 MB in float32."""
        height, width = self.diagonal.shape[-2:]
        pixels = torch.eye(height * width).to(self.diagonal).reshape(-1, 1, 1, height, width)
        return self.matvec(pixels).flatten(2).permute(1, 2, 0)  # pixel j gives column j

    def _run(self, method: str, x: Tensor) -> Tensor:
        shape = check_image(f"BandedCholesky.{method}", x, self.diagonal)
        batch, _, height, width = self.diagonal.shape
        images = x.expand(shape).reshape(math.prod(shape[:-3]) // batch, batch, height, width)
        backend = choose_backend(self.backend, self.diagonal.detach())
        arguments = (self.diagonal.squeeze(1), self.offdiagonal, images, self.radius, backend)
        return _Product.apply(method, *arguments).reshape(shape)


class _Product(torch.autograd.Function):
    """y = M x for M = L, L^T, L^{-1} or L^{-T}; x and y are (S, B, H, W).

    With g the gradient at y and w = M^T g, the gradient at x is w, and the one at L is

        g x^T for L,    x g^T for L^T,    -w y^T for L^{-1},    -y w^T for L^{-T},

    of which only the entries inside the band are ever formed.
    """

    @staticmethod
    def forward(ctx, method, diagonal, offdiagonal, x, radius, backend):
        y = getattr(implementation(backend), method)(diagonal, offdiagonal, x, radius)
        ctx.save_for_backward(diagonal, offdiagonal, x if method.startswith("matvec") else y)
        ctx.method, ctx.options = method, (radius, backend)
        return y

    @staticmethod
    def backward(ctx, g):
        diagonal, offdiagonal, kept = ctx.saved_tensors  # x for a product, y for a solve
        method, sign, w = ctx.method, 1, None
        if ctx.needs_input_grad[3] or method.startswith("solve"):
            w = _Product.apply(TRANSPOSED[method], diagonal, offdiagonal, g, *ctx.options)
        if not any(ctx.needs_input_grad[1:3]):
            return None, None, None, w, None, None
        if method.startswith("solve"):
            sign, g = -1, w
        left, right = (kept, g) if method.endswith("_t") else (g, kept)
        grads = _OuterProduct.apply(sign * left, right, *ctx.options)
        return None, *grads, w, None, None


class _OuterProduct(torch.autograd.Function):
    """The entries of sum_s a_s b_s^T inside the band, as diagonal and off-diagonals.

    Their gradient, diagonal and off-diagonals too, is a banded matrix G: a receives G b, and b
    receives G^T a.
    """

    @staticmethod
    def forward(ctx, a, b, radius, backend):
        ctx.save_for_backward(a, b)
        ctx.options = radius, backend
        return implementation(backend).outer(a, b, radius)

    @staticmethod
    def backward(ctx, diagonal, offdiagonal):
        a, b = ctx.saved_tensors
        to_a = _Product.apply("matvec", diagonal, offdiagonal, b, *ctx.options)
        to_b = _Product.apply("matvec_t", diagonal, offdiagonal, a, *ctx.options)
        return to_a, to_b, None, None


def implementation(backend: str) -> ModuleType:
    return import_module(f"{__name__}._{backend}")


def check_factor(diagonal: Tensor, offdiagonal: Tensor, radius: int) -> None:
    """Refuse what is no factor L with a positive diagonal."""
    name = "BandedCholesky"
    if not (isinstance(radius, int) and radius >= 0):
        raise ValueError(f"{name}: radius must be a whole number >= 0, got {radius!r}.")
    if diagonal.ndim != 4 or diagonal.shape[1] != 1 or 0 in diagonal.shape:
        raise ValueError(
            f"{name}: expected the diagonal as (B, 1, H, W), none of them 0, "
            f"got {tuple(diagonal.shape)}."
        )
    if diagonal.dtype not in COMPILED_DTYPES:
        raise ValueError(
            f"{name}: expected float32 or float64, got {diagonal.dtype}. "
            "Half precision is too coarse for a recursion over pixels; use .float()."
        )
    batch, _, height, width = diagonal.shape
    m = len(causal_offsets(radius))
    if offdiagonal.shape != (batch, m, height, width):
        raise ValueError(
            f"{name}: expected the off-diagonals as {(batch, m, height, width)}, "
            f"got {tuple(offdiagonal.shape)}. A patch of {2 * radius + 1} x {2 * radius + 1} "
            f"pixels (radius {radius}) has m = {m} causal neighbours."
        )
    check_same(name, "the off-diagonals", offdiagonal, diagonal)
    # One pass each: a sum is finite only if all its terms are. It may also overflow, so a sum that
    # is not finite makes us look at the terms.
    smallest, total = diagonal.detach().min(), diagonal.detach().sum()
    if (
        not (smallest > 0 and total.isfinite())
        and (bad := ~((diagonal > 0) & diagonal.isfinite())).any()
    ):
        raise ValueError(
            f"{name}: the diagonal must be finite and > 0, and {bad.sum()} of its numbers are not "
            f"(smallest {smallest:.3g}). Make it the exponential of a network's output, say."
        )
    if not offdiagonal.detach().sum().isfinite() and (bad := ~offdiagonal.isfinite()).any():
        raise ValueError(
            f"{name}: {bad.sum()} off-diagonals are NaN or infinite. Find where they arise."
        )


def check_image(name: str, x: Tensor, diagonal: Tensor) -> tuple[int, ...]:
    """The shape of the answer, (..., B, 1, H, W); refuse x that does not fit L."""
    batch, *image = diagonal.shape
    fits = x.ndim >= 4 and list(x.shape[-3:]) == image and 0 not in x.shape
    if not fits or (batch > 1 and x.shape[-4] not in (1, batch)):
        expected = ", ".join(map(str, (batch if batch > 1 else "B", *image)))
        raise ValueError(
            f"{name}: expected shape (..., {expected}), got {tuple(x.shape)}. "
            "Leading axes broadcast; a colour image needs one factor a channel, "
            "with its channels in the batch."
        )
    check_same(name, "x", x, diagonal)
    return (*x.shape[:-4], max(batch, x.shape[-4]), *image)


def check_same(name: str, what: str, x: Tensor, diagonal: Tensor) -> None:
    if x.dtype != diagonal.dtype or x.device != diagonal.device:
        raise ValueError(
            f"{name}: expected {what} in {diagonal.dtype} on {diagonal.device} as the diagonal, "
            f"got {x.dtype} on {x.device}. Use .to(diagonal)."
        )
