"""Few random linear measurements of an image."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from course_lib.operators.base import LinearOperator
from course_lib.protocols import ImageSize, NoiseModel
from course_lib.rng import check_generator

Rows = Literal["gaussian", "fourier", "hadamard"]


@dataclass(frozen=True, eq=False)
class CompressedSensing(LinearOperator):
    r"""y = m random linear functionals of the n = C H W pixels.

    Three kinds of rows:

    * "gaussian": an m x n matrix of N(0, 1/m) entries, so that E|A x|^2 = |x|^2. Needs m n numbers.
    * "fourier": A = S T D, random signs D, an orthonormal real Fourier (Hartley) transform T, and
      m coefficients S drawn without repetition. A A^T = I, |A| = 1, O(n log n), no matrix.
    * "hadamard": the same with the Walsh-Hadamard transform; n must be a power of two.

    The closed forms of A^+ and of the proximal map use A A^T: the identity for the last two, an
    eigendecomposition computed once for the first.

    Args:
        m: number of measurements; at most n for "fourier" and "hadamard".
        img_size: (C, H, W) of one image, in pixels.
        generator: where the rows are drawn from.

    Raises:
        ValueError: m out of range, an unknown kind of rows, n no power of two for "hadamard".
        TypeError: no torch.Generator.

    Source: Candès & Wakin 2008, doi:10.1109/MSP.2007.914731.
    """

    m: int
    img_size: ImageSize
    generator: Generator
    rows: Rows = "gaussian"
    noise_model: NoiseModel | None = None
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        check_generator("CompressedSensing", self.generator)
        n = math.prod(self.img_size)
        if self.rows not in ("gaussian", "fourier", "hadamard"):
            raise ValueError(
                f"CompressedSensing: rows must be 'gaussian', 'fourier' or 'hadamard', "
                f"got {self.rows!r}."
            )
        if self.m < 1 or (self.rows != "gaussian" and self.m > n):
            raise ValueError(
                f"CompressedSensing: expected 1 <= m <= {n} = C H W for rows={self.rows!r}, "
                f"got m={self.m}."
            )
        if self.rows == "hadamard" and n & (n - 1):
            raise ValueError(
                f"CompressedSensing: Hadamard rows need C H W to be a power of two, got {n}. "
                "Use rows='fourier', which takes any size."
            )
        self._draw  # the rows are drawn now, whenever they are used  # noqa: B018

    @cached_property
    def _draw(self) -> tuple[Tensor, Tensor]:
        """The matrix and its scale, or the signs and the chosen coefficients."""
        g, n = self.generator, math.prod(self.img_size)
        if self.rows == "gaussian":
            matrix = torch.randn(self.m, n, generator=g, dtype=self.dtype) / math.sqrt(self.m)
            return matrix, torch.empty(0)
        signs = 2.0 * torch.randint(2, (n,), generator=g) - 1
        return signs.to(self.dtype), torch.randperm(n, generator=g)[: self.m]

    @property
    def matrix(self) -> Float[Tensor, "m n"]:
        """The dense matrix of Gaussian rows."""
        return self._draw[0]

    @property
    def measurement_size(self) -> tuple[int]:
        """(m,)."""
        return (self.m,)

    @cached_property
    def _gram(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues and eigenvectors of the smaller of A A^T and A^T A (Gaussian rows)."""
        wide = self.m <= self.matrix.shape[1]
        gram = self.matrix @ self.matrix.T if wide else self.matrix.T @ self.matrix
        return torch.linalg.eigh(gram)

    def norm(self) -> float:
        """Largest singular value; 1 for orthonormal rows."""
        return self._gram[0][-1].sqrt().item() if self.rows == "gaussian" else 1.0

    def _apply(self, x: Tensor) -> Tensor:
        if self.rows == "gaussian":
            return x.flatten(-3) @ self.matrix.T.to(x.dtype)
        signs, chosen = self._draw
        return self._transform(signs.to(x.dtype) * x.flatten(-3))[..., chosen]

    def _adjoint(self, y: Tensor) -> Tensor:
        if self.rows == "gaussian":
            return (y @ self.matrix.to(y.dtype)).unflatten(-1, self.img_size)
        signs, chosen = self._draw
        coefficients = y.new_zeros(*y.shape[:-1], len(signs))
        coefficients[..., chosen] = y
        return (signs.to(y.dtype) * self._transform(coefficients)).unflatten(-1, self.img_size)

    def _transform(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """An orthonormal symmetric transform, its own inverse."""
        if self.rows == "hadamard":
            return hadamard_transform(x)
        return hartley_transform(x.unflatten(-1, self.img_size)).flatten(-3)

    def _dagger(self, y: Tensor) -> Tensor:
        if self.rows != "gaussian":
            return self._adjoint(y)
        values, _ = self._gram
        seen = values > 10 * max(self.matrix.shape) * torch.finfo(values.dtype).eps * values[-1]
        return self._through_gram(y, torch.where(seen, 1 / torch.where(seen, values, 1), 0))

    def _prox_l2(self, z: Tensor, y: Tensor, gamma: float) -> Tensor:
        if self.rows != "gaussian":
            return z + gamma / (1 + gamma) * self._adjoint(y - self._apply(z))
        # z + gamma A^T (I + gamma A A^T)^-1 (y - A z)
        return z + self._through_gram(y - self._apply(z), gamma / (1 + gamma * self._gram[0]))

    def _through_gram(self, y: Tensor, values: Float[Tensor, "k"]) -> Tensor:
        """A^T g(A A^T) y = g(A^T A) A^T y, for the function g with these values."""
        vectors, values = self._gram[1].to(y.dtype), values.to(y.dtype)
        if self.m <= self.matrix.shape[1]:
            return self._adjoint((y @ vectors * values) @ vectors.T)
        x = self._adjoint(y).flatten(-3)
        return ((x @ vectors * values) @ vectors.T).unflatten(-1, self.img_size)


def hartley_transform(x: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h w"]:
    """Re - Im of the unitary 2-D DFT: the Fourier basis in real numbers, its own inverse."""
    spectrum = torch.fft.fft2(x, norm="ortho")
    return spectrum.real - spectrum.imag


def hadamard_transform(x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """Orthonormal Walsh-Hadamard transform of the last axis, whose length is a power of two."""
    n, shape = x.shape[-1], x.shape
    for bit in range(n.bit_length() - 1):
        a, b = x.reshape(*shape[:-1], -1, 2, 1 << bit).unbind(-2)
        x = torch.stack((a + b, a - b), dim=-2)
    return x.reshape(shape) / math.sqrt(n)
