"""From picture files to images of one size: opened upright, made grey, cut, resized, rounded."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from course_lib.data.picture_files import read_picture
from course_lib.project import CourseError


def to_grey(image: Float[Tensor, "3 h w"]) -> Float[Tensor, "1 h w"]:
    """Luma 0.2125 R + 0.7154 G + 0.0721 B."""
    return (image * torch.tensor([0.2125, 0.7154, 0.0721])[:, None, None]).sum(0, True)


def centre_cut(image: Tensor, height: int, width: int) -> Tensor:
    """The centred part of an image (..., H, W), of the given size in pixels."""
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[..., top : top + height, left : left + width]


def resize(images: Float[Tensor, "b c h w"], shape: tuple[int, int]) -> Float[Tensor, "b c H W"]:
    """Bilinear interpolation to another size, with an antialiasing filter."""
    if images.shape[-2:] == shape:
        return images
    return interpolate(images, shape, mode="bilinear", antialias=True, align_corners=False)


def to_bytes(images: Tensor) -> UInt8[Tensor, "..."]:
    """Values in [0, 1], clipped, as the nearest of 256 levels."""
    return (images.clamp(0, 1) * 255).round().byte()


def open_picture(file: Path, *, colour: bool) -> Float[Tensor, "c h w"]:
    """A file's picture with three channels, or its luma, in [0, 1].

    Raises:
        CourseError: no such file, not a picture, or more than 8 bits a channel.
    """
    picture = read_picture(file)
    if picture.bits > 8:
        raise CourseError(f"{file} has more than 8 bits a channel; convert it to 8 bits.")
    image = picture.image.expand(3, -1, -1)
    return image if colour else to_grey(image)


def centred_square(
    file: Path, size: int, *, colour: bool, cut: int | None = None
) -> UInt8[np.ndarray, "c size size"]:
    """The centred square of side `cut` (the largest if None) of a picture, resized to `size`."""
    image = open_picture(file, colour=colour)
    height, width = image.shape[-2:]
    side = cut or min(height, width)
    if side > min(height, width):
        raise CourseError(f"{file} is {height} x {width} pixels, expected {side} at least.")
    return to_bytes(resize(centre_cut(image, side, side)[None], (size, size)))[0].numpy()


def read_image(file: str | Path, size: int, *, colour: bool = False) -> Float[Tensor, "1 c h w"]:
    """The centred square of an image file at size x size pixels, of 8 bits: multiples of 1/255.

    Raises:
        CourseError: no such file, or not a picture.
    """
    return torch.from_numpy(centred_square(Path(file), size, colour=colour))[None].float() / 255
