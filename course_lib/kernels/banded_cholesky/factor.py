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

import torch
from torch import Generator, Tensor

from course_lib.kernels.backend import Backend, choose_backend
from course_lib.kernels.banded_cholesky.checks import check_factor, check_image
from course_lib.kernels.banded_cholesky.products import Product
from course_lib.rng import check_generator, normal_like


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
    backend: Backend = "auto"

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
        return Product.apply(method, *arguments).reshape(shape)
