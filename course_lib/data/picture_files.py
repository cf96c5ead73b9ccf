"""A user's own picture: from a file to numbers and back."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from course_lib.project import CourseError, draft_of


class Picture(NamedTuple):
    """What a file shows, upright.

    Its numbers are taken as they are: a tone curve (gamma) is not undone.
    """

    image: Float[Tensor, "c h w"]  # in [0, 1]; C = 1, also if three colours are equal, or 3
    alpha: Float[Tensor, "1 h w"] | None  # 0 where the file is transparent
    bits: int  # a number, 8 or 16
    cut: bool  # whether the file has more bits than could be read


def read_picture(path: Path) -> Picture:
    """PNG, JPEG and whatever else Pillow reads; 16 bits only of grey pictures.

    Raises:
        CourseError: there is no such file, or it is not a picture.
    """
    if not path.is_file():
        raise CourseError(f"There is no file {path}.")
    try:
        with Image.open(path) as file:
            # Pillow names the layout of the file here, and reads 16-bit colours as 8 bits.
            cut = file.mode not in ("I;16", "I;16B") and any(";16" in str(t) for t in file.tile)
            picture = ImageOps.exif_transpose(file)
            if picture.mode.startswith("I;16"):
                pixels, bits = np.array(picture)[..., None].astype(np.uint16), 16
            elif picture.mode in ("I", "F"):
                raise CourseError(
                    f"{path} has 32 bits a pixel, and no scale is agreed upon for those. Save it "
                    "with 8 or 16 bits."
                )
            else:
                grey = picture.mode in ("1", "L", "LA", "La")
                mode = ("L" if grey else "RGB") + ("A" if picture.has_transparency_data else "")
                pixels, bits = np.array(picture.convert(mode)), 8
    except (OSError, SyntaxError, ValueError) as error:  # SyntaxError: a broken PNG
        raise CourseError(f"{path} is not a picture that can be read ({error}).") from error
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    numbers = torch.from_numpy(pixels.astype(np.float32) / (2**bits - 1)).movedim(-1, 0)
    colours = 1 if len(numbers) < 3 else 3
    image, alpha = numbers[:colours], numbers[colours:]
    if colours == 3 and torch.equal(image[0], image[1]) and torch.equal(image[0], image[2]):
        image = image[:1]
    return Picture(image.contiguous(), alpha if len(alpha) else None, bits, cut)


def write_picture(
    path: Path, image: Float[Tensor, "c h w"], *, alpha: Tensor | None = None, bits: int = 8
) -> None:
    """A PNG file, written beside its place, then renamed. Values outside [0, 1] are clipped.

    Args:
        image: C = 1 or 3.
        alpha: (1, H, W); with 8 bits only.
        bits: 8, or 16 for a grey picture.
    """
    numbers = image if alpha is None else torch.cat([image, alpha.to(image)])
    kind = np.uint8 if bits == 8 else np.uint16
    pixels = (numbers.detach().cpu().clamp(0, 1) * (2**bits - 1)).round().numpy().astype(kind)
    pixels = pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    with draft_of(path) as draft:
        Image.fromarray(pixels).save(draft, "PNG")
