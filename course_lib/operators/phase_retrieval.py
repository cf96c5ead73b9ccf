"""Intensities only: the phase of every measurement is lost."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Complex
from torch import Generator, Tensor

from course_lib.operators.base import Operator
from course_lib.protocols import ImageSize, NoiseModel
from course_lib.rng import check_generator, generator_from, normal_like


@dataclass(frozen=True, eq=False)
class PhaseRetrieval(Operator):
    r"""A(x) = |B x|^2 entrywise, B a random complex Gaussian matrix; not linear.

    x and -x give the same y, so compare estimates up to a sign. The entries of B have variance
    1 / m, so that the mean of y is |x|^2 / m.

    Args:
        m: number of intensities; for real images of n pixels a few times n make x identifiable.
        img_size: (C, H, W) of one image, in pixels.
        generator: where B is drawn from.

    Raises:
        ValueError: m < 1.
        TypeError: no torch.Generator.

    Source: Candès, Li & Soltanolkotabi 2015, doi:10.1109/TIT.2015.2399924.
    """

    m: int
    img_size: ImageSize
    generator: Generator
    noise_model: NoiseModel | None = None
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        check_generator("PhaseRetrieval", self.generator)
        if self.m < 1:
            raise ValueError(f"PhaseRetrieval: expected m >= 1 intensities, got m={self.m}.")
        self.B  # drawn now, whenever it is used  # noqa: B018

    @cached_property
    def B(self) -> Complex[Tensor, "m n"]:
        """The complex measurement matrix, entries N(0, 1/m)."""
        n = math.prod(self.img_size)
        parts = torch.randn(self.m, n, 2, generator=self.generator, dtype=self.dtype)
        return torch.view_as_complex(parts) / math.sqrt(2 * self.m)

    @property
    def measurement_size(self) -> tuple[int]:
        """(m,)."""
        return (self.m,)

    def _amplitudes(self, x: Tensor) -> Complex[Tensor, "*batch m"]:
        B = self._matrix(x)
        return x.flatten(-3).to(B.dtype) @ B.T

    def _matrix(self, x: Tensor) -> Complex[Tensor, "m n"]:
        return self.B.to(torch.complex128 if x.dtype == torch.float64 else torch.complex64)

    def _apply(self, x: Tensor) -> Tensor:
        amplitudes = self._amplitudes(x)
        return amplitudes.real.square() + amplitudes.imag.square()

    def _vjp(self, x: Tensor, v: Tensor) -> Tensor:
        """2 Re B^* (v * B x)."""
        weighted = v * self._amplitudes(x)
        return 2 * (weighted @ self._matrix(x).conj()).real.unflatten(-1, self.img_size)

    def spectral_start(self, y: Tensor, *, n_steps: int = 100) -> Tensor:
        """A starting point: the leading real eigenvector of Re B^* diag(y) B, by the power method.

        Scaled so that |B x|^2 has the mean of y; its sign is arbitrary. y is (*batch, m).
        """
        self._check("spectral_start", "y", y, self.measurement_size)
        if not (y.mean(-1) > 0).all():
            raise ValueError("PhaseRetrieval.spectral_start: intensities need a positive mean.")
        start = normal_like(y.new_empty(self.img_size), generator_from(0))
        x = start.expand(*y.shape[:-1], *self.img_size)
        for _ in range(n_steps):
            x = self._vjp(x, y)
            x = x / x.flatten(-3).norm(dim=-1)[..., None, None, None]
        scale = (y.mean(-1) / self._apply(x).mean(-1)).sqrt()
        return scale[..., None, None, None] * x
