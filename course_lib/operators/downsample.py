"""Blur, then keep one pixel in s x s: the operator of super-resolution, and cubic interpolation."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.fft import fft2, irfft2, rfft2

from course_lib.fourier import pad_and_centre, squared_modulus
from course_lib.operators.base import LinearOperator
from course_lib.operators.point_spread import bicubic_kernel, check_kernel, wrap_kernel
from course_lib.protocols import ImageSize, NoiseModel


@dataclass(frozen=True, eq=False)
class Downsampling(LinearOperator):
    r"""A u = (h * u) at the pixels (s i, s j), with a periodic prefilter h.

    Subsampling folds the spectrum: the s x s frequencies that agree modulo the small grid add up
    ("aliases"). Therefore A A^T is a convolution on the small grid, with the symbol
    a = mean of |h^|^2 over the aliases, and with it come A^+ = A^T F^-1 (1 / a) F and
    (gamma A^T A + I)^-1 = I - gamma A^T F^-1 (1 / (1 + gamma a)) F A.

    Args:
        img_size: (C, H, W) of one large image, in pixels.
        factor: s, which divides H and W.
        kernel: prefilter (1, 1, h, w) with centre at (h // 2, w // 2), for instance
            `bicubic_kernel(s)`; None keeps pixels without any filter.

    Raises:
        ValueError: the factor does not divide the size, or the kernel does not fit.

    Source: Zhao et al. 2016, doi:10.1109/TIP.2016.2567075 (closed form of the proximal map).
    """

    img_size: ImageSize
    factor: int
    kernel: Float[Tensor, "1 1 h w"] | None = None
    noise_model: NoiseModel | None = None

    def __post_init__(self) -> None:
        _, height, width = self.img_size
        s = self.factor
        if s < 1 or height % s or width % s:
            raise ValueError(
                f"Downsampling: factor {s} must divide the image size, got {height} x {width}. "
                f"Crop the image to {height - height % max(s, 1)} x {width - width % max(s, 1)}."
            )
        if self.kernel is not None:
            check_kernel("Downsampling", self.kernel, self.img_size)

    @property
    def measurement_size(self) -> ImageSize:
        """(C, H / s, W / s)."""
        channels, height, width = self.img_size
        return channels, height // self.factor, width // self.factor

    @cached_property
    def transfer_of_prefilter(self) -> Complex[Tensor, "H W2"]:
        """h^ on the half spectrum of the large grid."""
        return rfft2(self._padded_kernel)

    @property
    def _padded_kernel(self) -> Float[Tensor, "H W"]:
        kernel = torch.ones(1, 1) if self.kernel is None else self.kernel[0, 0]
        return pad_and_centre(kernel, self.img_size[-2:])

    @cached_property
    def alias_gain(self) -> Float[Tensor, "h w"]:
        """a, the eigenvalues of A A^T on the full spectrum of the small grid."""
        s, (_, height, width) = self.factor, self.img_size
        gain = squared_modulus(fft2(self._padded_kernel))
        return gain.reshape(s, height // s, s, width // s).mean((0, 2))

    def norm(self) -> float:
        """sqrt(max a)."""
        return self.alias_gain.max().sqrt().item()

    def _apply(self, x: Tensor) -> Tensor:
        # Dropping rows folds the spectrum along them: the inverse transform is s times smaller.
        spectrum = self.transfer_of_prefilter * rfft2(x)
        folded = spectrum.unflatten(-2, (self.factor, -1)).mean(-3)
        rows = irfft2(folded, s=(folded.shape[-2], x.shape[-1]))
        return rows[..., :: self.factor].to(x.dtype)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._adjoint_of_spectrum(fft2(y)).to(y.dtype)

    def _adjoint_of_spectrum(self, small: Tensor) -> Tensor:
        # The spectrum of the zero-inserted image is the small one, repeated s x s times.
        repeated = small.repeat(*[1] * (small.ndim - 1), self.factor)
        half = repeated[..., None, :, : self.img_size[-1] // 2 + 1]
        bands = self.transfer_of_prefilter.conj().unflatten(-2, (self.factor, -1))
        return irfft2((bands * half).flatten(-3, -2), s=self.img_size[-2:])

    def _dagger(self, y: Tensor) -> Tensor:
        # Frequencies that no alias carries are not seen; 10 eps is rounding in the mean above.
        floor = 10 * torch.finfo(self.alias_gain.dtype).eps * self.alias_gain.max()
        seen = self.alias_gain > floor
        gain = torch.where(seen, self.alias_gain, torch.inf).to(y.dtype)
        return self._adjoint_of_spectrum(fft2(y) / gain).to(y.dtype)

    def _prox_l2(self, z: Tensor, y: Tensor, gamma: float) -> Tensor:
        # The answer moves from z against the gradient at the answer: z - gamma A^T (I + gamma
        # A A^T)^-1 (A z - y), where the inverse is a division on the small grid.
        correction = fft2(self._apply(z) - y)
        correction = correction * (gamma / (1 + gamma * self.alias_gain.to(z.dtype)))
        return (z - self._adjoint_of_spectrum(correction)).to(z.dtype)


def bicubic_downsampling(
    img_size: Sequence[int],
    factor: int,
    noise_model: NoiseModel | None = None,
    *,
    device: torch.device | str = "cpu",
) -> Downsampling:
    """The operator of super-resolution in this book: cubic prefilter, then every s-th pixel."""
    channels, height, width = img_size
    kernel = wrap_kernel(bicubic_kernel(factor), (height, width)).to(device)
    return Downsampling((channels, height, width), factor, kernel, noise_model)


def bicubic_upsampling(
    y: Float[Tensor, "b c h w"], factor: int
) -> Float[Tensor, "b c h_large w_large"]:
    """factor^2 A^T y for bicubic `Downsampling` A: cubic interpolation of a periodic image.

    The pixels of y are samples at (factor i, factor j) of the large grid, as A takes them.
    """
    channels, height, width = y.shape[1:]
    size = (factor * height, factor * width)
    kernel = factor**2 * wrap_kernel(bicubic_kernel(factor), size)
    return Downsampling((channels, *size), factor, kernel=kernel).A_adjoint(y)
