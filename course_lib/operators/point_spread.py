r"""Point-spread functions: sum 1, centre at (h // 2, w // 2), and the Dirac when the width is 0."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.protocols import ImageSize


def check_kernel(caller: str, kernel: Tensor, img_size: ImageSize) -> None:
    """Refuse a kernel that is not (1, 1, h, w), not finite, or larger than the image."""
    if kernel.ndim != 4 or kernel.shape[:2] != (1, 1):
        raise ValueError(
            f"{caller}: expected a kernel of shape (1, 1, h, w), got {tuple(kernel.shape)}. "
            "For a 2-D kernel use kernel[None, None]; for one kernel an image, BlurEach."
        )
    check_kernels(caller, kernel, img_size)


def check_kernels(caller: str, kernels: Tensor, img_size: ImageSize) -> None:
    """Refuse kernels that are not (B, 1, h, w), not finite, or larger than the image."""
    if kernels.ndim != 4 or kernels.shape[1] != 1:
        raise ValueError(
            f"{caller}: expected kernels of shape (B, 1, h, w), got {tuple(kernels.shape)}. "
            "For a list of kernels (1, 1, h, w) use torch.cat(kernels)."
        )
    height, width = kernels.shape[-2:]
    if height > img_size[-2] or width > img_size[-1]:
        raise ValueError(
            f"{caller}: the kernel ({height} x {width}) is larger than the image "
            f"({img_size[-2]} x {img_size[-1]}). Crop the kernel or take a larger image."
        )
    if not kernels.isfinite().all():
        raise ValueError(f"{caller}: the kernel holds NaN or infinite values.")


def gaussian_kernel(
    std: float, size: int | None = None, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "1 1 h w"]:
    """Gaussian exp(-r^2 / (2 std^2)), sampled at the pixels and divided by its sum.

    Args:
        std: standard deviation in pixels, >= 0.
        size: side length, odd; 2 ceil(4 std) + 1 by default, which holds all but 6e-5 of an axis.
    """
    grid = _radius(_side("gaussian_kernel", "std", std, size, reach=4 * std))
    return _normalise(torch.exp(-(grid / std).square() / 2) if std > 0 else grid == 0, dtype)


def defocus_kernel(
    radius: float, size: int | None = None, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "1 1 h w"]:
    """The disc of an out-of-focus lens: 1 for r <= radius, 0 for r >= radius + 1, smooth between.

    On the rim it falls as e exp(-1 / (1 - (r - radius)^2)).
    """
    grid = _radius(_side("defocus_kernel", "radius", radius, size, reach=radius + 1))
    t = (grid - radius).clamp(0, 1)
    rim = torch.where(t < 1, torch.exp(1 - 1 / (1 - t.square()).clamp(min=1e-300)), 0)
    return _normalise(rim if radius > 0 else grid == 0, dtype)


def airy_kernel(
    radius: float, size: int | None = None, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "1 1 h w"]:
    """Diffraction by a round aperture, (2 J1(z) / z)^2, whose first dark ring is at r = radius.

    The rings are as fine as a pixel, so each pixel takes the mean of 5 x 5 points inside it. They
    decay only as r^-3: the default size, 2 ceil(4 radius) + 1, cuts off about 5 % of the energy
    before the kernel is divided by its sum.
    """
    side = _side("airy_kernel", "radius", radius, size, reach=4 * radius)
    if radius == 0:
        return _normalise(_radius(side) == 0, dtype)
    z = 3.8317059702075125 * _radius(side, points=5) / radius  # the first zero of J1
    ratio = torch.where(z > 0, 2 * torch.special.bessel_j1(z) / z.clamp(min=1e-300), 1)
    return _normalise(ratio.square().reshape(side, 5, side, 5).mean((1, 3)), dtype)


def motion_kernel(
    length: float, angle: float = 0.0, size: int | None = None, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "1 1 h w"]:
    """The trace of a camera that moves straight while the shutter is open, (1, 1, h, w).

    A segment of `length` pixels through the centre, at `angle` radians from the columns' axis
    (anticlockwise as displayed), splatted bilinearly.
    """
    side = _side("motion_kernel", "length", length, size, reach=length / 2 + 1)
    if not math.isfinite(angle):
        raise ValueError(f"motion_kernel: angle is in radians and must be finite, got {angle}.")
    n = 64 * math.ceil(length) + 1
    t = (torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5
    columns = side // 2 + length * math.cos(angle) * t
    rows = side // 2 - length * math.sin(angle) * t
    axis = torch.arange(side, dtype=torch.float64)
    hat_rows = (1 - (rows[:, None] - axis).abs()).clamp(min=0)
    hat_columns = (1 - (columns[:, None] - axis).abs()).clamp(min=0)
    return _normalise(hat_rows.T @ hat_columns, dtype)


def box_kernel(factor: int, dtype: torch.dtype = torch.float32) -> Float[Tensor, "1 1 h w"]:
    """The mean over the factor x factor block that starts at a pixel: a sensor with larger pixels.

    With `Downsampling` it averages disjoint blocks.
    """
    return _separable(torch.where((_taps(factor) >= 0) & (_taps(factor) < factor), 1.0, 0.0), dtype)


def bicubic_kernel(factor: int, dtype: torch.dtype = torch.float32) -> Float[Tensor, "1 1 h w"]:
    """The antialiased bicubic prefilter of image resizing (a = -1/2), for `Downsampling`.

    A small pixel is centred on its factor x factor block, as resizing programs do, and takes
    weights w((t - (factor - 1) / 2) / factor) from the offsets t of the large grid.

    Source: Keys 1981, doi:10.1109/TASSP.1981.1163711.
    """
    t = ((_taps(factor) - (factor - 1) / 2) / factor).abs()
    near = (1.5 * t - 2.5) * t**2 + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return _separable(torch.where(t <= 1, near, torch.where(t <= 2, far, 0)), dtype)


def wrap_kernel(kernel: Float[Tensor, "1 1 h w"], size: tuple[int, int]) -> Tensor:
    """A kernel that reaches farther than a periodic image of `size` (H, W), made to fit.

    On such an image two taps that are H rows (or W columns) apart read the same pixel: they are
    added up. The convolution stays what it was.
    """
    wrapped = kernel
    for dim, side in zip((-2, -1), size, strict=True):
        length = wrapped.shape[dim]
        if length <= side:
            continue
        places = (torch.arange(length, device=kernel.device) - length // 2 + side // 2) % side
        shape = list(wrapped.shape)
        shape[dim] = side
        wrapped = wrapped.new_zeros(shape).index_add(dim, places, wrapped)
    return wrapped


def _taps(factor: int) -> Tensor:
    """Offsets t of the image pixels u(s i + t) that a prefilter may read."""
    if factor < 1:
        raise ValueError(f"A downsampling factor must be at least 1, got {factor}.")
    reach = math.ceil(2.5 * factor)
    return torch.arange(-reach, reach + 1, dtype=torch.float64)


def _separable(weights: Tensor, dtype: torch.dtype) -> Tensor:
    """Outer product of weights on the offsets t, flipped: (k * u)(n) reads u(n - m) with k(m)."""
    weights = weights.flip(0)
    return _normalise(weights[:, None] * weights[None, :], dtype)


def _side(caller: str, name: str, width: float, size: int | None, reach: float) -> int:
    if not (math.isfinite(width) and width >= 0):
        raise ValueError(f"{caller}: {name} is in pixels and must be >= 0, got {width}.")
    if size is not None and (size < 1 or size % 2 == 0):
        raise ValueError(f"{caller}: size must be odd, so that there is a centre, got {size}.")
    return size or 2 * math.ceil(reach) + 1


def _radius(side: int, points: int = 1) -> Tensor:
    """Distance from the centre at `points` x `points` places inside each pixel of a square."""
    axis = (torch.arange(side * points, dtype=torch.float64) + 0.5) / points - 0.5 - side // 2
    return torch.hypot(axis[:, None], axis[None, :])


def _normalise(kernel: Tensor, dtype: torch.dtype) -> Float[Tensor, "1 1 h w"]:
    kernel = kernel.double()
    return (kernel / kernel.sum())[None, None].to(dtype)
