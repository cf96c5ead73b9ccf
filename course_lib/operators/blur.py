"""Convolution with a point-spread function."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.fft import irfft2, rfft2

from course_lib.fourier import filter_image, pad_and_centre, squared_modulus
from course_lib.operators.base import LinearOperator
from course_lib.operators.point_spread import check_kernel, check_kernels
from course_lib.protocols import ImageSize, NoiseModel


@dataclass(frozen=True, eq=False)
class Blur(LinearOperator):
    r"""Convolution with a point-spread function on a periodic image, A x = h * x.

    Diagonal in the Fourier basis: A = F^-1 diag(h^) F, hence A^T = F^-1 diag(conj h^) F, the
    pseudo-inverse divides by h^ where it is not zero, and the proximal map is a filter too.

    Args:
        kernel: (1, 1, h, w), centre at (h // 2, w // 2); entries sum to 1 if brightness is kept.
            A new kernel is a new operator. Gradients with respect to it flow, through a spectrum
            that is computed once: make a new Blur for each backward pass.
        img_size: (C, H, W) of one image, in pixels; leading batch axes are free.

    Raises:
        ValueError: the kernel has another shape, is larger than the image, or is not finite.

    Source: Hansen, Nagy & O'Leary, "Deblurring Images", SIAM 2006, chapter 4.
    """

    kernel: Float[Tensor, "1 1 h w"]
    img_size: ImageSize
    noise_model: NoiseModel | None = None

    def __post_init__(self) -> None:
        check_kernel("Blur", self.kernel, self.img_size)

    @cached_property
    def transfer(self) -> Complex[Tensor, "*each H W2"]:
        """h^ = F h on the half spectrum of rfft2."""
        return rfft2(pad_and_centre(self.kernel[0, 0], self.img_size[-2:]))

    @cached_property
    def gain(self) -> Float[Tensor, "*each H W2"]:
        """|h^|^2, the eigenvalues of A^T A."""
        return squared_modulus(self.transfer)

    def norm(self) -> float:
        """max |h^|."""
        return self.gain.max().sqrt().item()

    def _apply(self, x: Float[Tensor, "*batch c H W"]) -> Float[Tensor, "*batch c H W"]:
        return filter_image(x, self.transfer)

    def _adjoint(self, y: Float[Tensor, "*batch c H W"]) -> Float[Tensor, "*batch c H W"]:
        return filter_image(y, self.transfer.conj())

    @cached_property
    def inverse_transfer(self) -> Complex[Tensor, "*each H W2"]:
        """1 / h^, and 0 where h^ is zero: the transfer function of A^+."""
        # Singular values below rounding are zero: dividing by them would invent data.
        floor = 10 * torch.finfo(self.gain.dtype).eps * self.norm()
        seen = self.gain.sqrt() > floor
        return torch.where(seen, 1 / torch.where(seen, self.transfer, 1), 0)

    def _dagger(self, y: Tensor) -> Tensor:
        return filter_image(y, self.inverse_transfer)

    def _prox_l2(self, z: Tensor, y: Tensor, gamma: float) -> Tensor:
        spectrum = torch.addcmul(rfft2(z), self.transfer.conj(), rfft2(y), value=gamma)
        return irfft2(spectrum * (1 / (1 + gamma * self.gain)), s=z.shape[-2:]).to(z.dtype)


@dataclass(frozen=True, eq=False)
class BlurEach(Blur):
    r"""Each image of a batch blurred by a kernel of its own, A x_b = k_b * x_b.

    All formulas are those of `Blur`, with one transfer function an image.

    Args:
        kernel: (B, 1, h, w), for batches of B images; otherwise as in `Blur`.
    """

    kernel: Float[Tensor, "b 1 h w"]

    def __post_init__(self) -> None:
        check_kernels("BlurEach", self.kernel, self.img_size)

    @cached_property
    def transfer(self) -> Complex[Tensor, "b 1 H W2"]:
        """h^ = F h on the half spectrum of rfft2, for each image."""
        return rfft2(pad_and_centre(self.kernel, self.img_size[-2:]))
