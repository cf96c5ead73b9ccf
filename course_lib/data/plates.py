"""A procedural world of photographs: one embossed character on a painted plate.

Everything that happened to a photograph is known: which character in which typeface, where the
camera stood, the light, the wear, the dirt. So the set has no end, a network is never tested on
the images it was trained on, and questions about posteriors have answers to compare with.

    images, factors = plates.sample(torch.arange(64), seed=0)

The typefaces are those that come with matplotlib: nothing is downloaded.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate

from course_lib.data.factors import Factors, check_index, in_ranges
from course_lib.rng import counter_normal, counter_uniform

VERSION = 0  # raise it when a pixel changes: cached images carry it in their name
CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
FONTS = (
    "DejaVuSans-Bold",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono",
    "DejaVuSans",
    "DejaVuSerif-Bold",
    "STIXGeneralBol",
    "cmtt10",
    "cmss10",
)

# Uniform distributions of the continuous factors. The image is the square [-1, 1] x [-1, 1], y
# downwards; angles in radians; tones between 0 (black) and 1 (white); pixels are those of an
# image of 64 x 64, whatever the size.
RANGES: dict[str, tuple[float, float]] = {
    # where the camera stands: a homography of the plane of the plate
    "rotation": (-0.14, 0.14),
    "scale": (0.86, 1.20),
    "aspect": (0.90, 1.12),
    "shear": (-0.12, 0.12),
    "shift_x": (-0.12, 0.12),
    "shift_y": (-0.12, 0.12),
    "tilt_x": (-0.12, 0.12),
    "tilt_y": (-0.12, 0.12),
    # the plate
    "rim": (0.90, 1.05),  # its distance from the middle of the plate
    "relief": (0.50, 1.60),  # height of the embossing, in pixels
    "light_paint": (0.62, 0.88),
    "dark_paint": (0.10, 0.31),
    "paint_left": (2.0, 4.5),  # the lower, the more worn
    "grain": (0.004, 0.022),
    "dirt_missing": (0.2, 1.6),
    "dirt_below": (-0.4, 0.6),  # how much more of it at the bottom
    "dirt_opacity": (0.10, 0.60),
    "dirt_tone": (0.25, 0.42),
    # the light
    "light_angle": (0.0, 2 * math.pi),
    "light_falloff": (0.0, 0.38),
    "shadow_depth": (-0.61, 0.50),  # below 0: no shadow
    "shadow_angle": (0.0, 2 * math.pi),
    "shadow_offset": (-0.6, 1.4),
    "shadow_sharpness": (3.0, 14.0),
    "glare": (0.0, 0.16),
    "glare_x": (-1.0, 1.0),
    "glare_y": (-1.0, 1.0),
    "glare_radius": (0.25, 0.70),
    # the camera
    "exposure": (0.75, 1.05),
    "blur": (0.45, 1.05),  # standard deviation, in pixels
    "noise": (0.002, 0.008),
}
LIGHT_ON_DARK = 0.25  # the fraction of plates with a light character on a dark ground

_CANVAS, _CAP_HEIGHT = 144, 88  # pixels; glyphs are drawn where 128 pixels are the image's side
_RENDER_SEED = 0


@dataclass(frozen=True)
class PlateFactors(Factors):
    """All that `render` needs to know, one entry per image: see `RANGES` for units.

    `texture` is the key of every random field (grain, dirt, wear, noise), so two plates with
    equal factors are equal pixel by pixel, and `dataclasses.replace(factors, character=...)`
    changes the character and nothing else.
    """

    character: Int64[Tensor, "b"]  # position in CHARACTERS
    font: Int64[Tensor, "b"]  # position in FONTS
    texture: Int64[Tensor, "b"]
    light_on_dark: Bool[Tensor, "b"]
    __annotations__ |= dict.fromkeys(RANGES, Float[Tensor, "b"])  # and one field for each range


class Plates(NamedTuple):
    """Photographs, and what is on them."""

    images: Float[Tensor, "b 1 h w"]
    factors: PlateFactors


def factors(index: Tensor, *, seed: int) -> PlateFactors:
    """What is on the plates number `index`: a function of (seed, index) alone.

    Characters, fonts and the ranges of `RANGES` are uniformly distributed and independent.

    Args:
        index: (B,) non-negative integers, which plates.
        seed: names the whole endless set.

    Raises:
        ValueError: indices that are negative, not integers, or not in a row.
    """
    check_index("plates.factors", index)
    continuous = counter_uniform(seed, index, len(RANGES), stream=0).unbind(1)
    discrete = counter_uniform(seed, index, 5, stream=1).double().unbind(1)
    return PlateFactors(
        character=(len(CHARACTERS) * discrete[0]).long(),
        font=(len(FONTS) * discrete[1]).long(),
        light_on_dark=discrete[2] < LIGHT_ON_DARK,
        texture=(2**48 * discrete[3] + 2**24 * discrete[4]).long(),  # uniforms have 24 bits
        **in_ranges(RANGES, continuous),
    )


def render(factors: PlateFactors, *, size: int = 64) -> Float[Tensor, "b 1 size size"]:
    """Photographs of the plates, strictly inside (0, 1): a tone curve, no clipping.

    The same factors give the same picture in any batch. Sizes other than 64 show the same plate
    under the same light with other grain, and glyphs are drawn finely enough for 128 pixels.

    Args:
        factors: from `factors`, or those with some fields replaced.
        size: side of the image, in pixels, at least 16.

    Raises:
        ValueError: a size below 16, or a character or font that does not exist.
    """
    _check(factors, size)
    f = SimpleNamespace(**{k: v[:, None, None] for k, v in vars(factors).items()})
    y, x = _image_plane(size)
    u, v = _plate_plane(f, x, y)
    paint, height = _glyph(factors, u, v)
    rim = torch.exp(-(((v.abs() - f.rim) / 0.045) ** 2))
    slope_x, slope_y = _slopes(height + 0.8 * rim)
    # Seen from light_angle, flanks that face the light are brighter and the others darker.
    facing = -f.relief * (slope_x * f.light_angle.cos() + slope_y * f.light_angle.sin())

    albedo = _painted(f, paint, v, size) + f.grain * _white(f.texture, size, stream=2)
    albedo = _soiled(f, albedo, height, y, size)
    scene = f.exposure * (albedo * _light(f, x, y) * (1 + 1.1 * facing) + 0.1 * facing)
    image = _defocus(scene + _glare(f, x, y), f.blur * size / 64)
    return _tone_curve(image + f.noise * _white(f.texture, size, stream=3))[:, None]


def sample(index: Tensor, *, seed: int) -> Plates:
    """Photographs number `index` of the set `seed`, 64 x 64, and their factors."""
    drawn = factors(index, seed=seed)
    return Plates(render(drawn), drawn)


def _check(factors: PlateFactors, size: int) -> None:
    if size < 16:
        raise ValueError(f"plates.render: size must be at least 16 pixels, got {size}.")
    for name, names in (("character", CHARACTERS), ("font", FONTS)):
        choice = getattr(factors, name)
        if ((choice < 0) | (choice >= len(names))).any():
            raise ValueError(
                f"plates.render: {name} must lie in 0..{len(names) - 1}, "
                f"got {choice.min().item()}..{choice.max().item()}."
            )


def _image_plane(size: int) -> tuple[Tensor, Tensor]:
    """(y, x) of the pixel centres in [-1, 1], (size, 1) and (1, size)."""
    line = (2 * torch.arange(size) + 1) / size - 1
    return line[:, None], line[None, :]


def _plate_plane(f: SimpleNamespace, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates on the plate of what each pixel sees: a homography of the image plane."""
    x, y = x - f.shift_x, y - f.shift_y
    depth = 1 + f.tilt_x * x + f.tilt_y * y
    cos, sin = f.rotation.cos(), f.rotation.sin()
    v = (cos * y - sin * x) / f.scale
    u = (cos * x + sin * y) / (f.scale * f.aspect) + f.shear * v
    return u / depth, v / depth


@lru_cache(maxsize=1)
def _glyphs() -> Float[Tensor, "glyph 2 canvas canvas"]:
    """Paint (1 on the character) and height of the embossing, for each font and character."""
    masks = [_draw(font, character) for font in FONTS for character in CHARACTERS]
    mask = torch.from_numpy(np.stack(masks)).float()[:, None] / 255
    paint = avg_pool2d(mask, 3, 1, 1)
    height = avg_pool2d(avg_pool2d(mask, 7, 1, 3), 7, 1, 3)
    return torch.cat([paint, height], 1)


def _draw(font_name: str, character: str) -> np.ndarray:
    """Centred between its left and right, and between the base line and the height of an H."""
    from matplotlib import get_data_path

    path = Path(get_data_path()) / "fonts" / "ttf" / f"{font_name}.ttf"
    _, top, _, bottom = ImageFont.truetype(path, 200).getbbox("H")
    font = ImageFont.truetype(path, round(200 * _CAP_HEIGHT / (bottom - top)))
    left, _, right, _ = font.getbbox(character)
    image = Image.new("L", (_CANVAS, _CANVAS))
    place = ((_CANVAS - left - right) / 2, (_CANVAS + _CAP_HEIGHT) / 2)
    ImageDraw.Draw(image).text(place, character, fill=255, font=font, anchor="ls")
    return np.asarray(image)


def _glyph(factors: PlateFactors, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    drawn = _glyphs()[factors.font * len(CHARACTERS) + factors.character]
    where = torch.stack([u, v], -1) * (128 / _CANVAS)
    paint, height = grid_sample(drawn, where, align_corners=False).unbind(1)
    return paint, height


def _slopes(height: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences of the height along x and y, per pixel of a 64 x 64 image."""
    step = 64 / height.shape[-1]
    slope_y, slope_x = torch.gradient(height, spacing=step, dim=(1, 2))
    return slope_x, slope_y


def _painted(f: SimpleNamespace, paint: Tensor, v: Tensor, size: int) -> Tensor:
    """The character on its ground, worn where a rough field is low; darkness beyond the rim."""
    wear = _cloud(f.texture, size, (8, 16, 32, 64), decay=0.35, stream=0)
    left = paint * torch.sigmoid(2.5 * (wear + f.paint_left))
    ground = torch.where(f.light_on_dark, f.dark_paint, f.light_paint)
    ink = torch.where(f.light_on_dark, f.light_paint, f.dark_paint)
    outside = torch.sigmoid(40 * (v.abs() - 1.07))
    return (ground + (ink - ground) * left) * (1 - 0.5 * outside) + 0.12 * outside


def _soiled(f: SimpleNamespace, albedo: Tensor, height: Tensor, y: Tensor, size: int) -> Tensor:
    """A film of dirt in clouds, thicker on the flanks of the relief."""
    cloud = _cloud(f.texture, size, (4, 8, 16, 32, 64), decay=0.7, stream=1)
    flank = 4 * height * (1 - height)
    amount = cloud + 0.5 * flank + f.dirt_below * y - f.dirt_missing
    film = f.dirt_opacity * torch.sigmoid(1.6 * amount)
    return albedo + film * (f.dirt_tone - albedo)


def _light(f: SimpleNamespace, x: Tensor, y: Tensor) -> Tensor:
    """Brighter towards the light, and behind a soft straight edge in the shadow."""
    falloff = f.light_falloff * (f.light_angle.cos() * x + f.light_angle.sin() * y)
    across = f.shadow_angle.cos() * x + f.shadow_angle.sin() * y
    shade = torch.sigmoid(f.shadow_sharpness * (across - f.shadow_offset))
    return (1 + falloff) * (1 - f.shadow_depth.clamp(min=0) * shade)


def _glare(f: SimpleNamespace, x: Tensor, y: Tensor) -> Tensor:
    distance2 = (x - f.glare_x) ** 2 + (y - f.glare_y) ** 2
    return f.glare * torch.exp(-distance2 / f.glare_radius**2)


def _defocus(image: Tensor, std: Tensor) -> Tensor:
    """Gaussian blur, one std (pixels) an image; at the border the weights are normalised."""
    line = torch.arange(image.shape[-1], dtype=image.dtype)
    weights = torch.exp(-0.5 * ((line[:, None] - line) / std) ** 2)
    weights = weights / weights.sum(-1, keepdim=True)
    return weights @ image @ weights.mT


def _tone_curve(image: Tensor) -> Tensor:
    """A film's: contrast a little above 1 in the middle, never quite black nor white."""
    return 0.5 + 0.485 * torch.tanh(2.25 * (image - 0.5))


def _white(texture: Tensor, size: int, *, stream: int) -> Tensor:
    """White noise with standard deviation 1, (B, size, size)."""
    return counter_normal(_RENDER_SEED, texture.flatten(), size**2, stream=stream).unflatten(
        1, (size, size)
    )


def _cloud(
    texture: Tensor, size: int, grids: tuple[int, ...], *, decay: float, stream: int
) -> Tensor:
    """A sum of noises interpolated from coarse to fine grids, the finer the weaker, (B, s, s)."""
    counts = [grid**2 for grid in grids]
    draws = counter_normal(_RENDER_SEED, texture.flatten(), sum(counts), stream=stream)
    total = draws.new_zeros(len(draws), 1, size, size)
    for grid, values in zip(grids, draws.split(counts, dim=1), strict=True):
        mode = "bicubic" if grid < 16 else "bilinear"  # where bilinear facets would be seen
        layer = values.reshape(-1, 1, grid, grid)
        layer = interpolate(layer, (size, size), mode=mode, align_corners=False)
        total += (grid / 4) ** -decay * layer
    return total[:, 0]
