"""Small tools for batches in which each picture has its own parameters."""

from collections.abc import Callable
from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor
from torch.nn.functional import conv2d, interpolate, pad

from course_lib.rng import check_generator

PerImage = float | int | Tensor  # one value for all pictures, or (B,)


def check_pictures(caller: str, x: Tensor, *generators: Generator) -> None:
    """Refuse what is not a batch of pictures of at least 16 x 16 pixels, and a wrong generator."""
    if x.ndim != 4 or not x.is_floating_point() or min(x.shape[-2:]) < 16:
        raise ValueError(
            f"{caller}: expected floating-point pictures (B, C, H, W) with H, W >= 16, got "
            f"{tuple(x.shape)} of {x.dtype}. For one picture, try x[None]."
        )
    for generator in generators:
        check_generator(caller, generator)


def one_each(caller: str, name: str, value: PerImage, x: Tensor, low: float = 0) -> Tensor:
    """The parameter as (B, 1, 1, 1), or (1, 1, 1, 1) if all pictures share it.

    Raises:
        ValueError: neither one value nor B values, or some below `low`.
    """
    values = torch.as_tensor(value, dtype=x.dtype, device=x.device)
    if values.shape not in ((), x.shape[:1]) or not (values >= low).all():
        raise ValueError(
            f"{caller}: {name} must be one value or one per picture, ({len(x)},), each at least "
            f"{low}; got shape {tuple(values.shape)}, values {values.flatten().tolist()[:4]}."
        )
    return values.reshape(-1, 1, 1, 1)


def uniform(
    x: Tensor, low: float, high: float, generator: Generator, shape: tuple[int, ...] = ()
) -> Tensor:
    """(B, *shape) draws, uniform in [low, high), on the device of x."""
    draw = torch.rand((len(x), *shape), generator=generator, device=generator.device, dtype=x.dtype)
    return (low + (high - low) * draw).to(x.device)


def uniforms(x: Tensor, generator: Generator, *ranges: tuple[float, float]) -> tuple[Tensor, ...]:
    """For each range one draw a picture, (B, 1, 1, 1), ready to be combined with pixels."""
    low, high = torch.tensor(ranges, dtype=x.dtype, device=x.device).unbind(1)
    draws = low + (high - low) * uniform(x, 0, 1, generator, (len(ranges),))
    return draws[:, :, None, None, None].unbind(1)


def chosen(x: Tensor, chance: float, generator: Generator) -> Bool[Tensor, "b"]:
    """Each picture with this probability."""
    return uniform(x, 0, 1, generator) < chance


def on_rows(x: Tensor, rows: Bool[Tensor, "b"], change: Callable[[Tensor], Tensor]) -> Tensor:
    """`change` applied to the chosen pictures; the others as they are."""
    where = rows.nonzero()[:, 0]
    return x.index_copy(0, where, change(x[where])) if len(where) else x


def filter_each(x: Tensor, kernels: Float[Tensor, "b k k"]) -> Tensor:
    """Correlate each picture with its own kernel of odd size; the border is repeated outwards."""
    batch, channels = x.shape[:2]
    margin = kernels.shape[-1] // 2
    padded = pad(x, (margin,) * 4, mode="replicate").flatten(0, 1)[None]
    weights = kernels.repeat_interleave(channels, 0)[:, None]
    return conv2d(padded, weights, groups=batch * channels).view_as(x)


def clouds(x: Tensor, grid: int, generator: Generator) -> Float[Tensor, "b 1 h w"]:
    """Smooth noise of about unit size, interpolated from `grid` points a side."""
    draw = torch.randn(
        (len(x), 1, grid, grid), generator=generator, device=generator.device, dtype=x.dtype
    )
    # Enlarging is linear in the rows and in the columns; as matrices it is much faster.
    rows, columns = (_enlarging(grid, side).to(x) for side in x.shape[-2:])
    return rows @ draw.to(x.device) @ columns.mT


@lru_cache(maxsize=64)
def _enlarging(grid: int, side: int) -> Float[Tensor, "side grid"]:
    points = torch.eye(grid)[None, None]
    return interpolate(points, (side, grid), mode="bicubic", align_corners=True)[0, 0]
