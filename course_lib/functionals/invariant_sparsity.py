"""Sparsity in wavelets that does not depend on where the image begins."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import pywt
import torch
from jaxtyping import Float
from torch import Tensor
from torch.fft import irfft2, rfft2

from course_lib.fourier import frequencies
from course_lib.functionals.base import Functional
from course_lib.functionals.sparsity import Wavelets
from course_lib.protocols import ImageSize
from course_lib.validation import check_not_negative


@dataclass(frozen=True, eq=False)
class InvariantSparsity(Functional):
    r"""R(u) = lam times the mean over all translations T of |Psi T u|_1, without coarsest ones.

    Psi is an orthonormal wavelet transform of periodic images. The mean is computed at once, by
    filters that do not subsample. R is convex, as a mean of convex functions, and invariant.

    Args:
        lam: weight >= 0.
        img_size: (C, H, W) of one image, in pixels; H and W divisible by 2^levels.
        wavelet: an orthogonal one of PyWavelets.
        levels: 1 or more.

    Source: Coifman & Donoho 1995, doi:10.1007/978-1-4612-2544-7_9 (cycle spinning).
    """

    lam: float
    img_size: ImageSize
    wavelet: str = "db2"
    levels: int = 3

    def __post_init__(self) -> None:
        check_not_negative("InvariantSparsity", lam=self.lam)
        Wavelets(self.img_size, self.wavelet, self.levels)  # which refuses what does not fit

    def __call__(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """R(x), (B,)."""
        norms = (
            band.abs().flatten(1).sum(1) / 4 ** (1 + k // 3)  # three bands a level
            for k, band in enumerate(self._bands(x))
        )
        return self.lam * sum(norms, start=x.new_zeros(len(x)))

    def grad(self, _x: Tensor) -> Tensor:
        """Refused: R is not differentiable."""
        raise TypeError("InvariantSparsity has no gradient where a coefficient is 0.")

    def _bands(self, x: Tensor) -> Iterator[Tensor]:
        """Differences along the rows, along the columns and along both, from fine to coarse."""
        low = rfft2(x)
        for (low_rows, high_rows), (low_columns, high_columns) in self._responses:
            for response in (
                high_rows * low_columns,
                low_rows * high_columns,
                high_rows * high_columns,
            ):
                yield irfft2(low * response.to(low), s=x.shape[-2:])
            low = low * (low_rows * low_columns).to(low)

    @cached_property
    def _responses(self) -> list[tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]:
        """Level by level: the responses of the low and the high filter, for rows and columns."""
        filters = pywt.Wavelet(self.wavelet)  # pyright: ignore[reportAttributeAccessIssue]: not in its stubs
        taps = [torch.tensor(f, dtype=torch.float64) for f in (filters.dec_lo, filters.dec_hi)]
        place = torch.arange(len(taps[0]), dtype=torch.float64)

        def responses(f: Tensor) -> tuple[Tensor, Tensor]:
            wave = torch.exp(-2j * torch.pi * f[..., None] * place)
            return (wave * taps[0]).sum(-1), (wave * taps[1]).sum(-1)

        rows, columns = frequencies(self.img_size[1:])
        scales = [2**level for level in range(self.levels)]
        return [(responses(scale * rows), responses(scale * columns)) for scale in scales]
