"""Parallel-beam computed tomography: strip integrals of the image, and their exact adjoint."""

import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.operators.base import LinearOperator
from course_lib.protocols import ImageSize, NoiseModel


@dataclass(frozen=True, eq=False)
class Tomography(LinearOperator):
    r"""A x (theta, s): the integral of x over the strip of width one pixel at offset s.

    The image is a mosaic of unit squares, constant on each; A holds the exact area that each
    square shares with each strip. So every view conserves mass, a constant square is projected
    without ripples, and the transpose of the stored sparse matrix is the exact adjoint (rotating
    the views back is not). Offsets grow with the column index at theta = 0 and with the row index
    at theta = pi / 2, from the centre of the image.

    Args:
        img_size: (C, H, W) of one image, in pixels.
        angles: number of views, spread evenly over [0, pi), or a 1-D tensor of angles in radians.

    The measurement is (C, views, bins); bins are one pixel wide and cover the diagonal. The
    matrix stores at most 3 H W views numbers. `A_dagger` and `prox_l2` run conjugate gradients.

    Source: Natterer 2001, "The Mathematics of Computerized Tomography", SIAM.
    """

    img_size: ImageSize
    angles: int | Float[Tensor, "views"]
    noise_model: NoiseModel | None = None
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if isinstance(self.angles, Tensor):
            if self.angles.ndim != 1 or len(self.angles) == 0:
                raise ValueError(
                    f"Tomography: angles must be a non-empty 1-D tensor in radians, got shape "
                    f"{tuple(self.angles.shape)}."
                )
            if not self.angles.isfinite().all():
                raise ValueError("Tomography: angles hold NaN or infinite values.")
        elif self.angles < 1:
            raise ValueError(f"Tomography: expected at least one view, got angles={self.angles}.")

    @cached_property
    def theta(self) -> Float[Tensor, "views"]:
        """The angles of the views, in radians."""
        if isinstance(self.angles, Tensor):
            return self.angles.double()
        return torch.arange(self.angles, dtype=torch.float64) * math.pi / self.angles

    @property
    def bins(self) -> int:
        """Detector bins a view, an odd number that covers the diagonal of the image."""
        return 2 * math.ceil(math.hypot(*self.img_size[1:]) / 2) + 1

    @property
    def measurement_size(self) -> ImageSize:
        """(C, views, bins)."""
        return (self.img_size[0], len(self.theta), self.bins)

    @cached_property
    def _matrices(self) -> tuple[Tensor, Tensor]:
        """A as a sparse (views * bins, H * W) matrix, and its transpose."""
        _, height, width = self.img_size
        rows = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
        columns = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
        cosines, sines = self.theta.cos()[:, None, None], self.theta.sin()[:, None, None]
        offset = (columns * cosines + rows[:, None] * sines).flatten(1)  # (views, H W)
        # A unit square's shadow is a trapezoid, at most sqrt(2) wide: it meets up to three strips.
        first = (offset - math.sqrt(0.5) + 0.5).floor()
        strips = first[..., None] + torch.arange(3)  # (views, H W, 3)
        edges = torch.cat((strips - 0.5, strips[..., -1:] + 0.5), dim=-1)
        area = self._shadow(edges - offset[..., None], cosines, sines).diff(dim=-1)
        view = torch.arange(len(self.theta))[:, None, None]
        index = (view * self.bins + strips.long() + self.bins // 2).flatten()
        pixel = torch.arange(height * width)[:, None].expand(area.shape).flatten()
        area, kept = area.flatten().to(self.dtype), area.flatten() > 1e-14
        size = (len(self.theta) * self.bins, height * width)
        coordinates = torch.stack((index[kept], pixel[kept]))
        values = area[kept]
        A = torch.sparse_coo_tensor(coordinates, values, size, check_invariants=False)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            return A.to_sparse_csr(), A.t().to_sparse_csr()  # rows in order: 15 times faster

    @staticmethod
    def _shadow(t: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        """Area of a centred unit square, seen at angle theta, that lies left of the offset t.

        Its density is the convolution of boxes of widths |cos| and |sin|, a trapezoid: flat up to
        `inner`, falling linearly to zero at `outer`.
        """
        long = torch.maximum(cosines.abs(), sines.abs())
        short = torch.minimum(cosines.abs(), sines.abs())
        inner, outer = (long - short) / 2, (long + short) / 2
        distance = t.abs()
        tail = (outer - distance).clamp(min=0).square() / (2 * long * short.clamp(min=1e-300))
        beyond_centre = torch.where(distance <= inner, distance / long, 0.5 - tail)
        return 0.5 + t.sign() * beyond_centre

    def _apply(self, x: Tensor) -> Tensor:
        return self._product(0, x.flatten(-2)).unflatten(-1, self.measurement_size[1:])

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._product(1, y.flatten(-2)).unflatten(-1, self.img_size[1:])

    def _product(self, which: int, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch k"]:
        columns = x.reshape(-1, x.shape[-1]).T
        matrix, transpose = (self._matrices[i].to(x) for i in (which, 1 - which))
        return _SparseProduct.apply(columns, matrix, transpose).T.reshape(*x.shape[:-1], -1)

    def filtered_backprojection(self, y: Tensor) -> Tensor:
        """pi / views A^T applied to the ramp-filtered views, for angles spread evenly over [0, pi).

        The inverse of the continuous transform, sampled; it is not A^+. The ramp |f| (cycles per
        pixel) is the transform of its exact band-limited kernel, on views padded with zeros.
        """
        self._check("filtered_backprojection", "y", y, self.measurement_size)
        n = 2 ** math.ceil(math.log2(2 * self.bins))
        k = torch.fft.fftfreq(n, d=1 / n, dtype=torch.float64)
        odd = k.remainder(2) == 1
        kernel = torch.where(odd, -1 / (math.pi * k.where(odd, 1)).square(), 0)
        kernel[0] = 0.25
        ramp = torch.fft.rfft(kernel).real.to(y.dtype)
        filtered = torch.fft.irfft(ramp * torch.fft.rfft(y, n=n), n=n)[..., : self.bins]
        return self._adjoint(filtered) * math.pi / len(self.theta)


class _SparseProduct(torch.autograd.Function):
    """matrix @ x, whose derivative is the product with the stored transpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
        ctx.matrices = matrix, transpose
        return torch.sparse.mm(matrix, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        matrix, transpose = ctx.matrices
        return _SparseProduct.apply(grad, transpose, matrix), None, None
