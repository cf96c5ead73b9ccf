"""Real photographs that come with installed packages: nothing is downloaded.

scikit-image brings most of them (public domain or CC0), matplotlib its sample portrait of Grace
Hopper (public domain). They are for testing only: no weights of this project are trained on them.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.data.decoding import centre_cut, resize, to_grey
from course_lib.rng import generator_from

PHOTOS: dict[str, str] = {
    "camera": "a photographer and his camera on a lawn",
    "astronaut": "Eileen Collins in front of a shuttle model",
    "coffee": "an espresso cup on a wooden table",
    "chelsea": "a cat, close up",
    "grace_hopper": "Rear Admiral Grace Hopper in uniform",
    "rocket": "a rocket on its launch pad at dusk",
    "coins": "ancient coins from Pompeii",
    "clock": "a wall clock, blurred by motion",
    "moon": "craters on the Moon",
    "brick": "a brick wall",
    "grass": "a lawn from above",
    "gravel": "gravel",
    "immunohistochemistry": "stained colon tissue under the microscope",
    "hubble_deep_field": "galaxies, by the Hubble telescope",
    "retina": "the back of a human eye",
}

# The fixed list of pictures, live cells and tests: diverse, detailed, none blurred beforehand.
# Stored tables are measured on the 200 test photographs of BSDS500.
TEST_PHOTOS = (
    "camera",
    "astronaut",
    "coffee",
    "chelsea",
    "grace_hopper",
    "rocket",
    "coins",
    "moon",
    "brick",
    "grass",
    "gravel",
    "immunohistochemistry",
)


TUNING_PHOTOS = tuple(name for name in PHOTOS if name not in TEST_PHOTOS)


class Photos(NamedTuple):
    """A batch of photographs, and which ones they are."""

    images: Float[Tensor, "b c h w"]
    names: tuple[str, ...]


def load_photo(name: str, size: int | tuple[int, int] = 256, *, colour: bool = False) -> Tensor:
    """One photograph, (1, C, H, W) float32 in [0, 1].

    The largest centred part with the wanted shape is cut out and resized with an antialiasing
    filter. Grey is the luma 0.2125 R + 0.7154 G + 0.0721 B.

    Args:
        name: a key of `PHOTOS`.
        size: side of the square, or (height, width), in pixels.
        colour: three channels; a photograph that is grey itself repeats its channel.

    Raises:
        ValueError: unknown name, or a size that is not positive.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"load_photo: size must be positive, got {size}.")
    image = _decode(name)
    if not colour:
        image = to_grey(image)
    scale = min(image.shape[-2] / height, image.shape[-1] / width)
    cut = centre_cut(image, round(height * scale), round(width * scale))[None]
    return resize(cut, (height, width)).clone()  # the stored photograph stays as it is


def load_photos(
    names: Sequence[str] = TEST_PHOTOS,
    size: int | tuple[int, int] = 256,
    *,
    colour: bool = False,
) -> Photos:
    """Several photographs of one size, as a batch that remembers its names."""
    images = [load_photo(name, size, colour=colour) for name in names]
    return Photos(torch.cat(images), tuple(names))


def load_crops(
    n: int,
    size: int = 64,
    *,
    seed: int = 0,
    names: Sequence[str] = TEST_PHOTOS,
    colour: bool = False,
) -> Photos:
    """n square crops at random places of the photographs at 256 x 256, the same for a given seed.

    Crop i comes from photograph i modulo their number, so any n covers them evenly, and the first
    crops do not depend on n. Several crops of one photograph overlap and are alike: they count as
    one image in a mean and its interval.
    """
    if n < 1 or not names:
        raise ValueError(f"load_crops: expected n >= 1 and some names, got n={n}, names={names}.")
    if not 1 <= size <= 256:
        raise ValueError(f"load_crops: crops are cut from 256 x 256 images, got size {size}.")
    generator = generator_from(seed)
    crops, origins = [], []
    for i in range(n):
        name = names[i % len(names)]
        row, column = torch.randint(0, 257 - size, (2,), generator=generator).tolist()
        photo = load_photo(name, 256, colour=colour)
        crops.append(photo[..., row : row + size, column : column + size])
        origins.append(name)
    return Photos(torch.cat(crops), tuple(origins))


@lru_cache(maxsize=32)
def _decode(name: str) -> Float[Tensor, "3 h w"]:
    """The photograph as it is stored, decoded once."""
    if name not in PHOTOS:
        raise ValueError(f"Unknown photograph {name!r}. There are: {', '.join(PHOTOS)}.")
    if name == "grace_hopper":
        from matplotlib import get_data_path
        from skimage.io import imread

        pixels = imread(Path(get_data_path()) / "sample_data" / "grace_hopper.jpg")
    else:
        import skimage.data

        pixels = getattr(skimage.data, name)()
    pixels = np.atleast_3d(pixels)[..., :3]
    image = torch.from_numpy(pixels.copy()).movedim(-1, 0).float() / 255
    return image.expand(3, -1, -1)
