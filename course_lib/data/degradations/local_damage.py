"""Damage to some pixels, with the mask of where: scratches, folds, dust, stains, torn corners.

Most of it is drawn along a curve t = f(s), where s runs along a straight axis at some place and
angle of the picture and t across it, both in pixels.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from course_lib.data.degradations._batches import (
    check_pictures,
    chosen,
    clouds,
    uniform,
    uniforms,
)

FAINT = 0.05  # paint thinner than this is not laid on at all, so the mask stays tight
BROWN = (0.30, 0.20, 0.10)


class Damaged(NamedTuple):
    """A damaged picture, and where: mask is 1 on each pixel that was painted over, else 0.

    Where mask is 0 no paint was laid on: the image is what it was, exactly.
    """

    image: Float[Tensor, "b c h w"]
    mask: Float[Tensor, "b 1 h w"]


def scratches(x: Tensor, *, generator: Generator, fill: float = 1.0) -> Damaged:
    """One to six strokes a picture, up to 3 pixels wide, light (`fill`) or dark, with soft edges.

    Two in three run nearly vertically, as the film went through the projector; all are thinner
    at their ends and interrupted in places.
    """
    check_pictures("scratches", x, generator)
    count = uniform(x, 1, 7, generator).floor()
    damaged = untouched(x)
    for number in range(6):
        one = partial(_scratch, generator=generator, fill=fill)
        damaged = damage_rows(damaged, number < count, one)
    return damaged


def curved_scratches(x: Tensor, *, generator: Generator, fill: float = 1.0) -> Damaged:
    """Two wide arcs (3 to 6 pixels) in any direction: not among the `scratches`."""
    check_pictures("curved_scratches", x, generator)
    contact = (1.3 + 0.5 * clouds(x, 16, generator)).clamp(0, 1)
    damaged = untouched(x)
    for _ in range(2):
        (angle,) = uniforms(x, generator, (0, 2 * torch.pi))
        stroke = _stroke(x, angle, (0.4, 0.8), (3, 6), 0.35, generator)
        damaged = _paint(damaged, stroke * contact, fill)
    return damaged


def folds(x: Tensor, *, generator: Generator, fill: float = 1.0) -> Damaged:
    """A crease from border to border: a thin line, and around it the emulsion has flaked off."""
    check_pictures("folds", x, generator)
    side = max(x.shape[-2:])
    angle, width, reach, period, phase, height = uniforms(
        x, generator, (-0.35, 0.35), (0.9, 1.4), (0.02, 0.05), (0.3, 1), (0, 6.28), (0, 0.012)
    )
    upright = torch.pi / 2 * _pixels(chosen(x, 0.5, generator))
    s, t = _axis(x, angle + upright, generator)
    wobble = side * height * torch.sin(2 * torch.pi * s / (period * side) + phase)
    distance = (t - wobble).abs()
    crease = (_unit(x) * width - distance).clamp(0, 1)
    # Flakes come off where a rough field is high, less and less far from the crease.
    rough = 0.8 * clouds(x, 8, generator) + 0.8 * clouds(x, side // 3, generator)
    flakes = (4 * (rough - distance / (reach * side))).clamp(0, 1)
    return _paint(untouched(x), torch.maximum(crease, flakes), fill)


def dust(x: Tensor, *, generator: Generator, fill: float = 1.0) -> Damaged:
    """4 to 16 specks and up to three hairs a picture, light (`fill`) or dark."""
    check_pictures("dust", x, generator)
    tone = _light_or_dark(x, generator, fill)
    damaged = _paint(untouched(x), _specks(x, generator), tone)
    hairs = uniform(x, 0, 4, generator).floor()
    for number in range(3):
        one = partial(_hair, generator=generator, fill=fill)
        damaged = damage_rows(damaged, number < hairs, one)
    return damaged


def stains(x: Tensor, *, generator: Generator, fill: float = 1.0) -> Damaged:
    """Half transparent blotches with a tide mark: dark, brown in colour, or bleached to `fill`."""
    check_pictures("stains", x, generator)
    level, opacity = uniforms(x, generator, (0.9, 1.5), (0.25, 0.6))
    field = clouds(x, 4, generator) + 0.35 * clouds(x, 9, generator)
    depth = field + 0.05 * clouds(x, max(x.shape[-2:]) // 3, generator) - level
    blotch, tide_mark = torch.sigmoid(8 * depth), torch.exp(-((depth / 0.12) ** 2))
    brown = torch.tensor(BROWN if x.shape[1] == 3 else BROWN[1:2], dtype=x.dtype, device=x.device)
    bleached = _pixels(chosen(x, 0.35, generator))
    tone = torch.where(bleached, fill, brown[:, None, None])
    return _paint(untouched(x), opacity * (0.7 * blotch + 0.6 * tide_mark), tone)


def missing_corners(x: Tensor, *, generator: Generator, fill: float = 1.0) -> Damaged:
    """The paper is torn off beyond a wobbly line near one corner, or near two."""
    check_pictures("missing_corners", x, generator)
    height, width = x.shape[-2:]
    y, c = _lines(x)
    rough = clouds(x, 8, generator) + 0.3 * clouds(x, max(height, width) // 5, generator)
    first = uniform(x, 0, 4, generator).floor()
    last = torch.where(chosen(x, 0.25, generator), 2, 1)
    damaged = untouched(x)
    for number in range(2):
        corner = (first + number) % 4
        from_top = torch.where(_pixels(corner < 2), y[:, None], height - y[:, None])
        from_left = torch.where(_pixels(corner % 3 == 0), c, width - c)
        # The tear meets the two borders at these fractions of the sides.
        a, b = uniforms(x, generator, (0.15, 0.45), (0.15, 0.45))
        scale = min(height, width) * torch.minimum(a, b)
        beyond = scale * (1 - from_top / (a * height) - from_left / (b * width))
        torn = (beyond + 0.02 * min(height, width) * rough + 0.5).clamp(0, 1)
        damaged = _paint(damaged, torn * _pixels(number < last), fill)
    return damaged


def untouched(x: Tensor) -> Damaged:
    """Pictures with no pixel painted over."""
    return Damaged(x, torch.zeros_like(x[:, :1]))


def damage_rows(
    damaged: Damaged, rows: Bool[Tensor, "b"], kind: Callable[[Tensor], Damaged]
) -> Damaged:
    """More damage to the chosen pictures; the others as they are."""
    where = rows.nonzero()[:, 0]
    if len(where) == 0:
        return damaged
    image, mask = kind(damaged.image[where])
    union = torch.maximum(mask, damaged.mask[where])
    return Damaged(
        damaged.image.index_copy(0, where, image), damaged.mask.index_copy(0, where, union)
    )


def _paint(damaged: Damaged, opacity: Tensor, tone: Tensor | float) -> Damaged:
    """Cover with `tone`, as thickly as `opacity` says: 0 not at all, 1 completely."""
    opacity = torch.where(opacity < FAINT, 0, opacity).clamp(max=1)
    tone = torch.as_tensor(tone, dtype=opacity.dtype, device=opacity.device)
    image = torch.lerp(damaged.image, tone, opacity)
    return Damaged(image, torch.maximum(damaged.mask, (opacity > 0).to(opacity)))


def _scratch(x: Tensor, *, generator: Generator, fill: float) -> Damaged:
    steep, any_angle, opacity = uniforms(x, generator, (1.51, 1.63), (0, torch.pi), (0.5, 1))
    angle = torch.where(_pixels(chosen(x, 2 / 3, generator)), steep, any_angle)
    stroke = _stroke(x, angle, (0.15, 0.7), (1, 2.8), 0.04, generator)
    contact = (1 + 0.5 * clouds(x, 12, generator)).clamp(0, 1)
    return _paint(untouched(x), stroke * opacity * contact, _light_or_dark(x, generator, fill))


def _hair(x: Tensor, *, generator: Generator, fill: float) -> Damaged:
    (angle,) = uniforms(x, generator, (0, torch.pi))
    stroke = _stroke(x, angle, (0.04, 0.12), (0.7, 1.2), 0.6, generator)
    return _paint(untouched(x), stroke, _light_or_dark(x, generator, fill))


def _light_or_dark(x: Tensor, generator: Generator, fill: float) -> Tensor:
    """`fill` in three pictures of four, else nearly black."""
    (dark,) = uniforms(x, generator, (0, 0.2))
    return torch.where(_pixels(chosen(x, 0.75, generator)), fill, dark)


def _stroke(
    x: Tensor,
    angle: Float[Tensor, "b 1 1 1"],
    half_length: tuple[float, float],
    width: tuple[float, float],
    bend: float,
    generator: Generator,
) -> Float[Tensor, "b 1 h w"]:
    """Opacity of one curve a picture: an arc that also sways a little, pointed at both ends.

    Args:
        angle: of its axis, radians.
        half_length: range, as a fraction of the picture's longer side.
        width: range, in pixels of a 64 x 64 picture; see `_unit`.
        bend: at most how far the ends leave the axis, as a fraction of the half length.
    """
    side = max(x.shape[-2:])
    fraction, thickness, arc, sway = uniforms(
        x, generator, half_length, width, (-bend, bend), (-bend / 2, bend / 2)
    )
    reach = side * fraction
    s, t = _axis(x, angle, generator)
    s, t = s / reach, t / reach
    across = t - arc * s**2 - sway * s * (1 - s**2)
    slope = 2 * arc * s + sway * (1 - 3 * s**2)
    distance = reach * across.abs() * torch.rsqrt(1 + slope**2)
    inside = 1 - s**4
    return (_unit(x) * thickness / 2 * inside + 0.5 - distance).clamp(0, 1) * (inside > 0)


def _specks(x: Tensor, generator: Generator) -> Float[Tensor, "b 1 h w"]:
    """Discs, many small ones and few large ones."""
    present = torch.arange(16, device=x.device) < uniform(x, 4, 17, generator)[:, None].floor()
    radius = _unit(x) * (0.5 + 1.2 * uniform(x, 0, 1, generator, (16,)) ** 3)
    # (d^2 - r^2) / 2r is the distance to a circle of radius r, close to it; d^2 splits in two.
    y_part, x_part = (
        (line - uniform(x, 0, len(line), generator, (16, 1))) ** 2 / (2 * radius[..., None])
        for line in _lines(x)
    )
    absent = torch.where(present, 0, torch.inf)[..., None]
    outside = (y_part - radius[..., None] / 2 + absent)[..., :, None] + x_part[..., None, :]
    return (0.5 - outside.amin(1, keepdim=True)).clamp(0, 1)


def _axis(x: Tensor, angle: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """(s, t): pixels along and across an axis at this angle through a random point."""
    y, c = _lines(x)
    top, left = uniforms(x, generator, (0.08, 0.92), (0.08, 0.92))
    dy, dx = y[:, None] - top * x.shape[-2], c - left * x.shape[-1]
    cos, sin = angle.cos(), angle.sin()
    return cos * dx + sin * dy, cos * dy - sin * dx


def _lines(x: Tensor) -> list[Tensor]:
    """Pixel centres along the two sides: (H,) and (W,)."""
    return [torch.arange(n, dtype=x.dtype, device=x.device) + 0.5 for n in x.shape[-2:]]


def _unit(x: Tensor) -> float:
    """By how much widths grow with the picture: 1 for 64 x 64, 1.4 for 256 x 256."""
    return (min(x.shape[-2:]) / 64) ** 0.25


def _pixels(values: Tensor) -> Tensor:
    return values[:, None, None, None]
