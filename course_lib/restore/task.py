"""What happened to a picture, as its owner says it: numbers and files, checked and read.

Refusals name an option in backticks, such as `sigma`, with the value to try after "=".
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from skimage.restoration import estimate_sigma
from torch import Tensor

from course_lib.data.picture_files import read_picture
from course_lib.operators import bicubic_kernel, gaussian_kernel
from course_lib.project import CourseError
from course_lib.restore.photographs import Degradation

OPERATORS = ("deblur", "super-resolution", "inpaint", "denoise")
GREY_LEVEL = 1 / 255
ROUNDING = 1 / math.sqrt(12)  # standard deviation of rounding to grey levels, in grey levels
SIGMAS = (0.1, 100.0)  # that are believed, in grey levels


@dataclass(frozen=True)
class Task:
    """What is to be undone.

    Args:
        operator: "deblur", "super-resolution", "inpaint" or "denoise".
        kernel_std: standard deviation of a Gaussian blur, in pixels.
        kernel_file: picture or .npy file of the point-spread function, scaled to sum 1. By default
            super-resolution has the prefilter of bicubic resizing.
        factor: factor of super-resolution, 2 ... 8.
        mask_file: picture of the same size, brighter than middle grey where pixels are seen.
        sigma: standard deviation of the noise in grey levels of 255; estimated if None.

    Raises:
        CourseError: an option that does not fit.
    """

    operator: str
    kernel_std: float | None = None
    kernel_file: Path | None = None
    factor: int | None = None
    mask_file: Path | None = None
    sigma: float | None = None

    def __post_init__(self) -> None:
        check_choice("operator", self.operator, OPERATORS)
        blurred = self.operator in ("deblur", "super-resolution")
        kernels = sum(given is not None for given in (self.kernel_std, self.kernel_file))
        if self.operator == "super-resolution" and self.factor not in range(2, 9):
            given = "none" if self.factor is None else self.factor
            raise CourseError(f"`factor`: super-resolution needs 2 ... 8, got {given}.")
        if self.operator != "super-resolution" and self.factor is not None:
            raise CourseError(f"`factor` is for super-resolution, not for {self.operator}.")
        if kernels and not blurred:
            raise CourseError(
                f"A kernel is for deblur and super-resolution, not for {self.operator}."
            )
        if kernels == 2:
            raise CourseError("Give `kernel_std` or `kernel_file`, not both.")
        if self.operator == "deblur" and not kernels:
            raise CourseError(
                "deblur needs the blur: `kernel_std=1.5` for a Gaussian of 1.5 pixels, or "
                "`kernel_file` with a picture or a .npy file of the point-spread function."
            )
        if self.operator == "inpaint" and self.mask_file is None:
            raise CourseError("inpaint needs `mask_file`: a picture, white where yours is intact.")
        if self.sigma is not None:
            _check_sigma(self.sigma)

    def degradation(self, image: Float[Tensor, "c h w"]) -> Degradation:
        """The degradation of a picture; its noise is estimated if nobody knows it.

        Raises:
            CourseError: a file that cannot be read or does not fit, noise that cannot be estimated.
        """
        height, width = image.shape[-2:]
        factor = self.factor or 1
        kernel, seen = self._kernel(max(height, width)), read_seen(self.mask_file, height, width)
        if kernel is not None:
            h, w = kernel.shape[-2:]
            if h > factor * height or w > factor * width:
                raise CourseError(f"The kernel has {h} x {w} pixels, more than the picture.")
        level = _estimated_noise(image, seen) if self.sigma is None else self.sigma
        _check_sigma(level)
        return Degradation(level * GREY_LEVEL, kernel, factor, seen)

    def _kernel(self, largest: int) -> Tensor | None:
        if self.kernel_file is not None:
            return _read_kernel(self.kernel_file)
        if self.kernel_std is None:
            return bicubic_kernel(self.factor) if self.factor else None
        if not 0 < self.kernel_std <= largest:
            raise CourseError(
                f"`kernel_std`: expected pixels, more than 0, got {self.kernel_std:g}."
            )
        return gaussian_kernel(self.kernel_std)


def read_seen(file: Path | None, height: int, width: int) -> Tensor | None:
    """Where a picture is seen, (1, H, W), from a mask that is white there; None without a file.

    Raises:
        CourseError: a file that cannot be read, has another size, or is black all over.
    """
    if file is None:
        return None
    seen = read_picture(file).image.mean(0, keepdim=True) > 0.5
    h, w = seen.shape[-2:]
    if (h, w) != (height, width):
        raise CourseError(
            f"`mask_file`: {file} has {h} x {w} pixels, the picture {height} x {width}."
        )
    if not seen.any():
        raise CourseError(
            f"`mask_file`: {file} is black all over; white says where the picture is seen."
        )
    return seen


def check_choice(option: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse another word than those known."""
    if value not in known:
        raise CourseError(f"`{option}`: there is {', '.join(known)}; got {value!r}.")


def _read_kernel(file: Path) -> Float[Tensor, "1 1 h w"]:
    """A file's numbers, 0 or more, divided by their sum; the centre is that of the array."""
    if file.suffix == ".npy":
        try:
            numbers = np.load(file, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise CourseError(f"`kernel_file`: {file} cannot be read ({error}).") from error
    else:
        numbers = read_picture(file).image.mean(0).numpy()
    kernel = torch.as_tensor(np.asarray(numbers, dtype=np.float32))
    if kernel.ndim != 2 or not kernel.isfinite().all() or kernel.min() < 0 or kernel.sum() == 0:
        raise CourseError(
            f"`kernel_file`: expected a plane of numbers >= 0 that are not all zero in {file}, got "
            f"shape {tuple(kernel.shape)}."
        )
    return (kernel / kernel.sum())[None, None]


def _estimated_noise(image: Tensor, seen: Tensor | None) -> float:
    """Noise in grey levels, from the finest wavelets; no less than that of rounding."""
    if seen is not None:
        raise CourseError(
            "With a mask the noise cannot be estimated: give `sigma` in grey levels of 255, such "
            "as `sigma=2` for a clean scan."
        )
    if min(image.shape[-2:]) < 16:
        raise CourseError("A picture this small does not show its noise: give `sigma`.")
    found = estimate_sigma(image.numpy(), channel_axis=0, average_sigmas=True)
    return max(float(found) / GREY_LEVEL, ROUNDING)


def _check_sigma(sigma: float) -> None:
    low, high = SIGMAS
    if not low <= sigma <= high:
        hint = f" If you mean {sigma:g} for images in [0, 1], write `sigma={255 * sigma:.3g}`."
        raise CourseError(
            f"`sigma`: expected the standard deviation of the noise in grey levels of 255, from "
            f"{low:g} to {high:g}, got {sigma:g}.{hint if 0 < sigma < low else ''}"
        )
