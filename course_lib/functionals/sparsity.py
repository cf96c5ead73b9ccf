"""Sparsity in an orthonormal basis: few coefficients of a DCT or of wavelets describe an image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pywt
import scipy.fft
import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.batch import per_image
from course_lib.functionals.base import Functional
from course_lib.protocols import ImageSize
from course_lib.validation import check_not_negative


class OrthonormalTransform:
    """Psi with Psi^T Psi = I, made of orthogonal matrices along the rows and along the columns.

    A subclass has `img_size` (C, H, W), and `_levels`: pairs of orthogonal matrices, the first of
    H x H and W x W, each next pair for the top left corner that the one before has left. The
    coefficients have the shape of the image. Any device and floating-point type; gradients flow.
    """

    img_size: ImageSize

    @property
    def coarsest(self) -> tuple[int, int]:
        """(h, w): the top left h x w coefficients of a channel hold its mean brightness."""
        raise NotImplementedError

    @property
    def _levels(self) -> Sequence[tuple[Tensor, Tensor]]:
        raise NotImplementedError

    def analysis(self, x: Float[Tensor, "*batch c h w"]) -> Float[Tensor, "*batch c h w"]:
        """Psi x, the coefficients of images (*batch, C, H, W)."""
        self._check("analysis", x)
        c = x.clone()
        for rows, columns in self._levels:
            h, w = len(rows), len(columns)
            c[..., :h, :w] = rows.to(x) @ c[..., :h, :w] @ columns.T.to(x)
        return c

    def synthesis(self, c: Float[Tensor, "*batch c h w"]) -> Float[Tensor, "*batch c h w"]:
        """Psi^T c, the images with these coefficients."""
        self._check("synthesis", c)
        x = c.clone()
        for rows, columns in reversed(self._levels):
            h, w = len(rows), len(columns)
            x[..., :h, :w] = rows.T.to(c) @ x[..., :h, :w] @ columns.to(c)
        return x

    def _check(self, method: str, x: Tensor) -> None:
        if x.shape[-3:] != tuple(self.img_size) or not x.is_floating_point():
            raise ValueError(
                f"{type(self).__name__}.{method}: expected floating-point numbers of shape "
                f"(*batch, {', '.join(map(str, self.img_size))}), got {tuple(x.shape)} of "
                f"{x.dtype}."
            )


@dataclass(frozen=True, eq=False)
class DCT(OrthonormalTransform):
    """The orthonormal two-dimensional cosine transform (DCT-II) of whole images.

    Two matrix products: at 64 x 64 as fast as a fast transform, and differentiable; at 512 x 512
    ten times slower than scipy.fft.dctn, its equal.

    Args:
        img_size: (C, H, W) of one image, in pixels.

    Source: Ahmed, Natarajan & Rao 1974, doi:10.1109/T-C.1974.223784.
    """

    img_size: ImageSize

    def __post_init__(self) -> None:
        _check_size("DCT", self.img_size)

    @property
    def coarsest(self) -> tuple[int, int]:
        """(1, 1): the mean."""
        return 1, 1

    @cached_property
    def _levels(self) -> list[tuple[Tensor, Tensor]]:
        rows, columns = (
            torch.from_numpy(scipy.fft.dct(np.eye(n), norm="ortho", axis=0))
            for n in self.img_size[1:]
        )
        return [(rows, columns)]


@dataclass(frozen=True, eq=False)
class Wavelets(OrthonormalTransform):
    """An orthonormal wavelet transform of periodic images, laid out as Mallat draws it.

    Each level splits the top left corner into four: averages, again top left, and differences
    along the rows, along the columns, along both.

    Args:
        img_size: (C, H, W) of one image, in pixels; H and W divisible by 2^levels.
        wavelet: an orthogonal one of PyWavelets, "haar", "db2", "sym4"...
        levels: 1 or more; as many as H and W allow by default: then an image of 64 x 64 has a
            single coarsest coefficient, its mean times 64.

    Raises:
        ValueError: an unknown or not orthogonal wavelet, or levels that do not fit img_size.

    Source: Mallat 1989, doi:10.1109/34.192463; the filters are those of PyWavelets.
    """

    img_size: ImageSize
    wavelet: str = "db2"
    levels: int | None = None

    def __post_init__(self) -> None:
        _check_size("Wavelets", self.img_size)
        most = _halvings(*self.img_size[1:])
        if most < 1 or not 1 <= self.depth <= most:
            raise ValueError(
                f"Wavelets: each level halves both sides, and sides {self.img_size[1:]} can be "
                f"halved {most} times, so levels = {self.levels} does not fit. "
                "Crop the image to sides that a power of two divides."
            )
        known = pywt.wavelist(kind="discrete")  # pyright: ignore[reportAttributeAccessIssue]: no stub
        if self.wavelet not in known or not self._is_orthonormal:
            raise ValueError(
                f"Wavelets: expected an orthogonal wavelet of PyWavelets, such as 'haar', 'db2' "
                f"or 'sym4', got {self.wavelet!r}."
            )

    @property
    def depth(self) -> int:
        """The number of levels."""
        return _halvings(*self.img_size[1:]) if self.levels is None else self.levels

    @property
    def coarsest(self) -> tuple[int, int]:
        """(H, W) / 2^depth."""
        return self.img_size[1] >> self.depth, self.img_size[2] >> self.depth

    @property
    def _is_orthonormal(self) -> bool:
        """As the filters are stored: to 1e-12 for symlets, to 1e-3 for a discrete Meyer wavelet."""
        return all(
            torch.allclose(side @ side.T, torch.eye(len(side)).to(side), rtol=0, atol=1e-10)
            for side in self._levels[0]
        )

    @cached_property
    def _levels(self) -> list[tuple[Tensor, Tensor]]:
        _, height, width = self.img_size
        return [
            (self._one_level(height >> level), self._one_level(width >> level))
            for level in range(self.depth)
        ]

    def _one_level(self, n: int) -> Float[Tensor, "n n"]:
        """Row by row: n / 2 averages, then n / 2 differences."""
        halves = pywt.dwt(np.eye(n), self.wavelet, mode="periodization", axis=0)
        return torch.from_numpy(np.concatenate(halves))


@dataclass(frozen=True, eq=False)
class Sparsity(Functional):
    r"""R(u) = lam |Psi u|_1, the sum of the moduli of the coefficients; not differentiable at 0.

    Its proximal map shrinks the coefficients, since Psi is orthonormal: Psi^T soft(Psi u, tau lam).

    Args:
        lam: weight >= 0, one for all images or a tensor (B,), one for each.
        transform: Psi, `DCT` or `Wavelets`.
        spare_coarsest: leave out the coarsest coefficients, `transform.coarsest` of each channel.
            The mean brightness of an image is far from 0; a weight on it only darkens the image.
    """

    lam: float | Tensor
    transform: OrthonormalTransform
    spare_coarsest: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.lam, Tensor):
            if self.lam.ndim != 1 or not (self.lam.isfinite() & (self.lam >= 0)).all():
                raise ValueError(
                    "Sparsity: lam must be a finite number >= 0, or a tensor (B,) of such, "
                    f"got a tensor {tuple(self.lam.shape)} with values {self.lam.tolist()}."
                )
        else:
            check_not_negative("Sparsity", lam=self.lam)

    def __call__(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """lam |Psi x|_1, (B,)."""
        return (self._weights(x) * self.transform.analysis(x).abs()).flatten(1).sum(1)

    def grad(self, _x: Tensor) -> Tensor:
        """Refused: R is not differentiable."""
        raise TypeError(
            "Sparsity has no gradient where a coefficient is 0, which is where its minimisers are. "
            "Use its prox: solvers.accelerated_proximal_gradient(data_term, sparsity, x0)."
        )

    def prox(self, x: Float[Tensor, "b c h w"], step_size: float) -> Float[Tensor, "b c h w"]:
        """argmin_u R(u) + |u - x|^2 / (2 step_size)."""
        c = self.transform.analysis(x)
        return self.transform.synthesis(soft_threshold(c, step_size * self._weights(x)))

    def _weights(self, x: Tensor) -> Tensor:
        """The weight of each coefficient, broadcasting against x."""
        if isinstance(self.lam, Tensor) and len(self.lam) != len(x):
            raise ValueError(
                f"Sparsity: lam holds {len(self.lam)} weights, one for each image, but there are "
                f"{len(x)} images."
            )
        lam = per_image(torch.as_tensor(self.lam, dtype=x.dtype, device=x.device), x)
        if not self.spare_coarsest:
            return lam
        penalised = x.new_ones(x.shape[-2:])
        h, w = self.transform.coarsest
        penalised[:h, :w] = 0
        return lam * penalised


def soft_threshold(c: Tensor, threshold: Tensor | float) -> Tensor:
    """argmin_u threshold |u| + (u - c)^2 / 2, number by number."""
    return c.sign() * (c.abs() - threshold).clamp(min=0)


def keep_largest(
    x: Float[Tensor, "b c h w"], k: int, transform: OrthonormalTransform
) -> Float[Tensor, "b c h w"]:
    """The best k-term approximation of each image: the nearest one with k coefficients or fewer.

    Since the basis is orthonormal it keeps the k coefficients of largest modulus, of all channels
    together. Ties are broken somehow.

    Raises:
        ValueError: k outside 0, ..., C H W.

    Source: Mallat, "A Wavelet Tour of Signal Processing", 2009, section 9.2.1.
    """
    n = math.prod(transform.img_size)
    if not 0 <= k <= n:
        raise ValueError(f"keep_largest: expected 0 <= k <= {n} = C H W, got {k}.")
    c = transform.analysis(x).flatten(1)
    largest = c.detach().abs().topk(k, dim=1).indices
    kept = torch.zeros_like(c).scatter(1, largest, c.gather(1, largest))
    return transform.synthesis(kept.view_as(x))


def _check_size(name: str, img_size: ImageSize) -> None:
    if len(img_size) != 3 or min(img_size) < 1:
        raise ValueError(f"{name}: expected img_size = (C, H, W), each 1 or more, got {img_size}.")


def _halvings(height: int, width: int) -> int:
    """How often both sides can be halved."""
    common = math.gcd(height, width)
    return (common & -common).bit_length() - 1
