"""Magnetic resonance imaging: some Fourier coefficients of the object, by one coil or more."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Complex, Float
from torch import Generator, Tensor
from torch.fft import fft2, fftshift, ifft2, ifftshift

from course_lib.operators.base import LinearOperator
from course_lib.protocols import ImageSize, NoiseModel
from course_lib.rng import check_generator

IMAGE_AXES = (-2, -1)


@dataclass(frozen=True, eq=False)
class MRI(LinearOperator):
    r"""A x = S F (d x): coil map d, unitary Fourier transform F, sampling mask S.

    The measurement holds real and imaginary parts as two channels, zero where nothing was
    sampled, with frequency 0 at (H // 2, W // 2) as scanners and textbooks draw it:
    (2, H, W) for one coil, (2, N, H, W) for N coils.

    With one coil A^T A is a Fourier multiplier, so A^+ and the proximal map are closed forms: the
    mask itself for complex images; for real images, where each frequency also tells its negative,
    the mean of the mask at the two, 0, 1/2 or 1. With several coils they run conjugate gradients.

    Args:
        mask: (H, W), 1 where a frequency is measured, frequency 0 in the centre.
        img_size: (1, H, W) for real images or (2, H, W) for (real, imaginary) parts.
        coil_maps: complex sensitivities (N, H, W), or None for one ideal coil.

    Raises:
        ValueError: the shapes do not match, the mask is empty or not 0/1.

    Source: Lustig, Donoho & Pauly 2007, doi:10.1002/mrm.21391.
    """

    mask: Tensor
    img_size: ImageSize
    coil_maps: Complex[Tensor, "n h w"] | None = None
    noise_model: NoiseModel | None = None

    def __post_init__(self) -> None:
        channels, *size = self.img_size
        if channels not in (1, 2):
            raise ValueError(
                f"MRI: img_size must be (1, H, W) for real or (2, H, W) for complex images, got "
                f"{self.img_size}."
            )
        if tuple(self.mask.shape) != tuple(size):
            raise ValueError(
                f"MRI: expected a mask of shape {tuple(size)}, got {tuple(self.mask.shape)}."
            )
        if not ((self.mask == 0) | (self.mask == 1)).all() or not self.mask.any():
            raise ValueError("MRI: the mask must hold only 0 and 1, and at least one 1.")
        if self.coil_maps is not None and tuple(self.coil_maps.shape[1:]) != tuple(size):
            raise ValueError(
                f"MRI: expected coil_maps of shape (N, {size[0]}, {size[1]}), got "
                f"{tuple(self.coil_maps.shape)}."
            )
        if self.coil_maps is not None and not self.coil_maps.isfinite().all():
            raise ValueError("MRI: coil_maps hold NaN or infinite values.")

    @property
    def measurement_size(self) -> tuple[int, ...]:
        """Real and imaginary parts of k-space, of each coil."""
        coils = () if self.coil_maps is None else (len(self.coil_maps),)
        return (2, *coils, *self.img_size[1:])

    @property
    def n_measured(self) -> int:
        """Real and imaginary part of each frequency that is sampled, by each coil."""
        return int(self.mask.sum()) * math.prod(self.measurement_size[:-2])

    @cached_property
    def _sampled(self) -> Float[Tensor, "h w"]:
        """The mask with frequency 0 at pixel (0, 0), as fft2 orders it."""
        return ifftshift(self.mask.float(), dim=IMAGE_AXES)

    @cached_property
    def symbol(self) -> Float[Tensor, "h w"]:
        """Eigenvalues of A^T A for one coil, in the order of fft2."""
        if self.img_size[0] == 2:
            return self._sampled
        negative = self._sampled.flip(IMAGE_AXES).roll((1, 1), IMAGE_AXES)
        return (self._sampled + negative) / 2

    def norm(self) -> float:
        """Spectral norm; 1 for a single coil."""
        return self.symbol.max().sqrt().item() if self.coil_maps is None else super().norm()

    def __call__(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """As of every operator; lost frequencies are 0, also under noise."""
        y = super().__call__(x, generator=generator)
        return torch.where(self.mask.bool(), y, 0)

    def _apply(self, x: Tensor) -> Tensor:
        u = self._to_complex(x)
        if self.coil_maps is not None:
            u = self.coil_maps.to(u.dtype) * u.unsqueeze(-3)
        spectrum = fftshift(self._sampled.to(x.dtype) * fft2(u, norm="ortho"), dim=IMAGE_AXES)
        return torch.view_as_real(spectrum).movedim(-1, -len(self.measurement_size))

    def _adjoint(self, y: Tensor) -> Tensor:
        parts = y.movedim(-len(self.measurement_size), -1).contiguous()
        spectrum = ifftshift(torch.view_as_complex(parts), dim=IMAGE_AXES)
        u = ifft2(self._sampled.to(y.dtype) * spectrum, norm="ortho")
        if self.coil_maps is not None:
            u = (self.coil_maps.to(u.dtype).conj() * u).sum(-3)
        return self._from_complex(u)

    def _dagger(self, y: Tensor) -> Tensor:
        if self.coil_maps is not None:
            return super()._dagger(y)
        seen = self.symbol > 0
        return self._multiply(self._adjoint(y), seen / self.symbol.where(seen, 1))

    def _prox_l2(self, z: Tensor, y: Tensor, gamma: float) -> Tensor:
        if self.coil_maps is not None:
            return super()._prox_l2(z, y, gamma)
        return self._multiply(
            z + gamma * self._adjoint(y), 1 / (1 + gamma * self.symbol.to(z.dtype))
        )

    def _multiply(self, x: Tensor, multiplier: Float[Tensor, "h w"]) -> Tensor:
        """F^-1 diag(multiplier) F x."""
        return self._from_complex(ifft2(multiplier.to(x.dtype) * fft2(self._to_complex(x))))

    def _to_complex(self, x: Tensor) -> Complex[Tensor, "*batch h w"]:
        if self.img_size[0] == 1:
            x = torch.cat((x, torch.zeros_like(x)), dim=-3)
        return torch.view_as_complex(x.movedim(-3, -1).contiguous())

    def _from_complex(self, u: Complex[Tensor, "*batch h w"]) -> Tensor:
        parts = torch.view_as_real(u).movedim(-1, -3)
        return parts if self.img_size[0] == 2 else parts[..., :1, :, :]


def cartesian_mask(
    size: tuple[int, int], acceleration: float, generator: Generator, centre_fraction: float = 0.08
) -> Float[Tensor, "h w"]:
    """A scanner's mask: whole columns of k-space, the low frequencies all, the others at random.

    Args:
        size: (H, W).
        acceleration: 4 keeps a quarter of the columns, on average.
        centre_fraction: share of the columns around frequency 0 that is always kept.
    """
    check_generator("cartesian_mask", generator)
    if not acceleration >= 1 or not 0 <= centre_fraction <= 1:
        raise ValueError(
            f"cartesian_mask: expected acceleration >= 1 and 0 <= centre_fraction <= 1, got "
            f"{acceleration} and {centre_fraction}."
        )
    height, width = size
    distance = (torch.arange(width) - width // 2).abs()
    centre = distance <= centre_fraction * width / 2
    if centre.sum() > width / acceleration:
        raise ValueError(
            f"cartesian_mask: the centre alone keeps {int(centre.sum())} of {width} columns, more "
            f"than acceleration {acceleration} allows. Lower acceleration or centre_fraction."
        )
    chance = (width / acceleration - centre.sum()) / (width - centre.sum()).clamp(min=1)
    columns = centre | (torch.rand(width, generator=generator) < chance)
    return columns.float().expand(height, width).contiguous()
