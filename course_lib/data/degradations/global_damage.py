"""Damage to every pixel: noise, blur, loss of resolution, fading, printing screens."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from course_lib.data.degradations._batches import (
    PerImage,
    check_pictures,
    clouds,
    filter_each,
    one_each,
    uniform,
)
from course_lib.rng import normal_like

SEPIA = (1.0, 0.86, 0.62)  # what white paper becomes, red, green, blue


def gaussian_noise(x: Tensor, sigma: PerImage, *, generator: Generator) -> Tensor:
    """x + e with e ~ N(0, sigma^2), clipped to [0, 1]."""
    check_pictures("gaussian_noise", x, generator)
    sigma = one_each("gaussian_noise", "sigma", sigma, x)
    return (x + sigma * normal_like(x, generator)).clamp(0, 1)


def speckle(x: Tensor, sigma: PerImage, *, generator: Generator) -> Tensor:
    """x (1 + e) with e ~ N(0, sigma^2), clipped to [0, 1]: noise that spares the blacks."""
    check_pictures("speckle", x, generator)
    sigma = one_each("speckle", "sigma", sigma, x)
    return (x * (1 + sigma * normal_like(x, generator))).clamp(0, 1)


def salt_and_pepper(
    x: Tensor, amount: PerImage, salt: PerImage = 0.5, *, generator: Generator
) -> Tensor:
    """A fraction `amount` of the pixels is lost, in all their channels.

    Of these a fraction `salt` is white, and the rest is black.
    """
    check_pictures("salt_and_pepper", x, generator)
    amount = one_each("salt_and_pepper", "amount", amount, x)
    salt = one_each("salt_and_pepper", "salt", salt, x)
    lot = uniform(x, 0, 1, generator, (1, *x.shape[-2:]))
    return torch.where(lot < amount, (lot < amount * salt).to(x), x)


def film_grain(x: Tensor, photons: PerImage, *, generator: Generator) -> Tensor:
    """Poisson counts of mean photons * x, whose noise is smeared over about two pixels; clipped.

    The smearing keeps the variance x / photons: coarse grain, not weaker grain. As `photons`
    grows the grain vanishes.
    """
    check_pictures("film_grain", x, generator)
    photons = one_each("film_grain", "photons", photons, x, low=1)
    mean = (photons * x).to(generator.device)
    counts = torch.poisson(mean, generator=generator).to(x.device)
    line = torch.tensor([0.5, 1, 0.5], dtype=x.dtype, device=x.device)
    kernel = line[:, None] * line
    kernel = kernel / kernel.norm()
    grain = filter_each(counts / photons - x, kernel.expand(len(x), 3, 3))
    return (x + grain).clamp(0, 1)


def gaussian_blur(x: Tensor, std: PerImage, size: PerImage = 7) -> Tensor:
    """Correlation with a Gaussian of this std (pixels) cut off at size x size, size odd.

    Weights sum to 1, so constants stay. Beyond the border the picture repeats its edge.
    """
    check_pictures("gaussian_blur", x)
    std = one_each("gaussian_blur", "std", std, x)[..., 0]
    size = one_each("gaussian_blur", "size", size, x, low=1)[..., 0]
    if (size % 2 != 1).any():
        raise ValueError(f"gaussian_blur: sizes must be odd, got {size.flatten().tolist()[:4]}.")
    radius = int(size.max()) // 2
    offset = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    # std 0 is the limit: all the weight in the middle.
    line = torch.exp(-0.5 * (offset / std.clamp(min=1e-3)) ** 2) * (2 * offset.abs() < size)
    line = line / line.sum(-1, keepdim=True)
    return filter_each(x, (line.mT * line).expand(len(x), -1, -1)).clamp(0, 1)


def motion_blur(x: Tensor, length: PerImage, angle: PerImage) -> Tensor:
    """The camera moved in a straight line: the mean along `length` pixels at `angle` radians.

    Length 0 changes nothing. Angle 0 is horizontal, and positive angles turn downwards.
    """
    check_pictures("motion_blur", x)
    length = one_each("motion_blur", "length", length, x)[..., 0]
    angle = one_each("motion_blur", "angle", angle, x, low=-torch.inf)[..., 0]
    radius = int(length.max().item() / 2 + 1)
    offset = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    dx, dy = offset, offset[:, None]
    along = (dx * angle.cos() + dy * angle.sin()).abs()
    across = (dy * angle.cos() - dx * angle.sin()).abs()
    # A segment drawn with soft edges: a pixel beside it gets the part that the segment covers.
    kernels = (length / 2 + 0.5 - along).clamp(0, 1) * (1 - across).clamp(min=0)
    kernels = kernels / kernels.sum((1, 2), keepdim=True)
    return filter_each(x, kernels.expand(len(x), -1, -1)).clamp(0, 1)


def resolution_loss(x: Tensor, fraction: PerImage, nearest: bool | Tensor = False) -> Tensor:
    """Shrink both sides to `fraction` (bicubic, antialiased) and enlarge again; clipped.

    Resizing is linear in the rows and in the columns, so each picture becomes R_h x R_w^T.

    Args:
        x: (B, C, H, W).
        fraction: above 0, at most 1; one or (B,). Sides are rounded to whole pixels.
        nearest: enlarge by repeating pixels instead of bilinearly; one or (B,).

    Raises:
        ValueError: a fraction that leaves no pixel, or above 1.
    """
    check_pictures("resolution_loss", x)
    fraction = one_each("resolution_loss", "fraction", fraction, x).expand(len(x), 1, 1, 1)
    if (fraction > 1).any() or (fraction * min(x.shape[-2:]) < 1).any():
        raise ValueError(
            "resolution_loss: fractions must leave at least one pixel and be at most 1, got "
            f"{fraction.min().item():g} to {fraction.max().item():g} for {tuple(x.shape)}."
        )
    back = torch.as_tensor(nearest).expand(len(x)).tolist()
    rows, columns = (
        torch.stack(
            [
                _shrink_and_enlarge(side, shrunk, is_nearest)
                for shrunk, is_nearest in zip(_sides(fraction, side), back, strict=True)
            ]
        ).to(x)[:, None]
        for side in x.shape[-2:]
    )
    return (rows @ x @ columns.mT).clamp(0, 1)


def _sides(fraction: Tensor, side: int) -> list[int]:
    return (fraction.flatten() * side).round().long().tolist()


@lru_cache(maxsize=300)  # all the fractions in [1/2, 1] of one image size up to 256
def _shrink_and_enlarge(side: int, shrunk: int, nearest: bool) -> Float[Tensor, "side side"]:
    """What resizing side -> shrunk -> side does to a column of pixels."""
    columns = torch.eye(side)[None, None]
    small = interpolate(columns, (shrunk, side), mode="bicubic", antialias=True)
    # "nearest-exact" takes the centre of each pixel; torch's "nearest" is off by half a pixel.
    return interpolate(small, (side, side), mode="nearest-exact" if nearest else "bilinear")[0, 0]


def fading(x: Tensor, strength: PerImage) -> Tensor:
    """Old prints: blacks become grey, whites dull, colours turn to sepia; strength 0 to 1."""
    check_pictures("fading", x)
    strength = one_each("fading", "strength", strength, x).clamp(max=1)
    faded = 0.35 + 0.55 * x
    if x.shape[1] == 3:
        paper = torch.tensor(SEPIA, dtype=x.dtype, device=x.device)[:, None, None]
        faded = paper * faded.lerp(faded.mean(1, keepdim=True), 0.6)
    return x.lerp(faded, strength)


def vignette(x: Tensor, strength: PerImage, *, generator: Generator) -> Tensor:
    """Darker towards the corners and in clouds, by up to `strength` (0 to 1), multiplicatively."""
    check_pictures("vignette", x, generator)
    strength = one_each("vignette", "strength", strength, x).clamp(max=1)
    y, c = (torch.linspace(-1, 1, n, dtype=x.dtype, device=x.device) for n in x.shape[-2:])
    corners = (y[:, None] ** 2 + c**2) / 2
    lost = (0.7 * corners + 0.3 * torch.sigmoid(2 * clouds(x, 4, generator))).clamp(0, 1)
    return x * (1 - strength * lost)


def banding(x: Tensor, strength: PerImage, *, generator: Generator) -> Tensor:
    """A scanner with unequal sensors: each row is multiplied by 1 + strength * e; clipped."""
    check_pictures("banding", x, generator)
    strength = one_each("banding", "strength", strength, x)
    return (x * (1 + strength * normal_like(x[:, :1, :, :1], generator))).clamp(0, 1)


def halftone(x: Tensor, strength: PerImage, period: PerImage) -> Tensor:
    """A newspaper's screen of dots at 45 degrees, `period` pixels apart, mixed in by `strength`."""
    check_pictures("halftone", x)
    strength = one_each("halftone", "strength", strength, x).clamp(max=1)
    period = one_each("halftone", "period", period, x, low=2)
    y, c = (torch.arange(n, dtype=x.dtype, device=x.device) for n in x.shape[-2:])
    turn = 2**0.5 * torch.pi / period
    screen = 0.5 + 0.25 * (torch.cos(turn * (y[:, None] + c)) + torch.cos(turn * (y[:, None] - c)))
    return x.lerp(torch.sigmoid(6 * (x - screen)), strength)
