r"""Wiener's filter: the posterior mean of a stationary Gaussian image in white noise."""

from jaxtyping import Float
from torch import Tensor

from course_lib.fourier import squared_modulus
from course_lib.protocols import Linear
from course_lib.solvers.fourier_diagonal import fourier_diagonal, regularised_inverse
from course_lib.solvers.solution import Solution
from course_lib.validation import check_measurement, check_not_negative


def wiener(
    op: Linear, y: Tensor, sigma: float, power_spectrum: Float[Tensor, "*c h w2"]
) -> Solution:
    r"""The linear estimate of least mean square error, for a stationary image and white noise.

        F x = conj(h) F y / (|h|^2 + sigma^2 H W / S)

    S = E |F x|^2 is the power spectrum on the half grid of rfft2 (unnormalised DFT), sigma^2 H W =
    E |F w|^2 that of the noise. The mean of the image is taken to be zero: subtract that of y.

    Raises:
        TypeError: op is not diagonal in the Fourier basis.
        ValueError: sigma < 0, S not positive or of the wrong shape, or y of the wrong shape.

    Source: Wiener 1949; Hansen, Nagy & O'Leary 2006, section 6.3.
    """
    h = fourier_diagonal("wiener", op)
    check_measurement("wiener", op, y)
    check_not_negative("wiener", sigma=sigma)
    height, width = y.shape[-2:]
    if power_spectrum.shape[-2:] != (height, width // 2 + 1) or not (power_spectrum > 0).all():
        raise ValueError(
            f"wiener: power_spectrum must be positive on the half grid of rfft2, and its "
            f"shape end in {(height, width // 2 + 1)}, got {tuple(power_spectrum.shape)}."
        )
    noise = sigma**2 * height * width
    return regularised_inverse(h, y, squared_modulus(h) + noise / power_spectrum)
