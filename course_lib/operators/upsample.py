"""Cubic interpolation: the classical way back from a coarse image."""

from jaxtyping import Float
from torch import Tensor

from course_lib.operators.downsample import Downsampling
from course_lib.operators.point_spread import bicubic_kernel, wrap_kernel


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
