"""Blind deconvolution where images are Gaussian: what is left of F once x is the best image."""

from jaxtyping import Float
from torch import Tensor
from torch.fft import rfft2

from course_lib.exact.stationary_gaussian import StationaryGaussian
from course_lib.fourier import spectral_mean, squared_modulus
from course_lib.operators import Blur


def blind_profile(
    world: StationaryGaussian,
    kernel: Float[Tensor, "1 1 k l"],
    y: Float[Tensor, "b c h w"],
    sigma: float,
) -> Float[Tensor, " b"]:
    r"""phi(h) / sigma^2 = min over x of |h * x - y|^2 / (2 sigma^2) + q(x), without q(mean).

    With S = n C^ the spectrum of the unnormalised transform of n pixels,

        phi(h) / sigma^2 = 1/2 sum over frequencies of |y^ - mean^|^2 / (|h^|^2 S + n sigma^2).

    Args:
        world: distribution of images; q = -log p, of which the constant is left out.
        kernel: h, of sum 1.
        y: blurred images.
        sigma: standard deviation of the noise in y.
    """
    size = (y.shape[-2], y.shape[-1])
    gain = Blur(kernel.to(y), world.img_size).gain
    energy = squared_modulus(rfft2(y - world.mean)).sum(1)
    return spectral_mean(energy / (gain * world.spectrum + sigma**2), size) / 2
