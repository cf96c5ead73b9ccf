"""The statistics of locally normalised photographs: the 36 features of BRISQUE.

In a natural photograph, luminance minus its local mean, over its local standard deviation, is
nearly Gaussian, and the products of neighbours have a stable distribution too. Noise, blur and
compression change both. Mittal, Moorthy & Bovik 2012, doi:10.1109/TIP.2012.2214050.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import gammaln
from torch import Tensor
from torch.nn.functional import conv2d, pad

from course_lib.metrics.images import check_channels, check_images

LUMA = (0.2989, 0.5870, 0.1140)  # ITU-R BT.601, as in the published code
WINDOW, STD = 7, 7 / 6  # pixels
SHIFTS = ((0, 1), (1, 0), (1, 1), (-1, 1))  # horizontal, vertical, two diagonal neighbours
TINY = 1e-12  # gives a flat field, which has no shape, the largest of them
SHAPES = torch.arange(10.0, 0.199, -0.001, dtype=torch.float64).numpy()


def _moment_ratio(shape: np.ndarray) -> np.ndarray:
    """E[x^2] / E[|x|]^2 of a generalised Gaussian."""
    return np.exp(gammaln(1 / shape) + gammaln(3 / shape) - 2 * gammaln(2 / shape))


RATIOS = _moment_ratio(SHAPES)  # ascending


class Normalised(NamedTuple):
    """A luminance image without its local mean and contrast, and that contrast."""

    field: Float[Tensor, "b 1 h w"]
    contrast: Float[Tensor, "b 1 h w"]


class GeneralisedGaussian(NamedTuple):
    """Density ~ exp(-|x / b|^shape): shape 2 is Gaussian, 1 is Laplace."""

    shape: Float[Tensor, "n"]
    variance: Float[Tensor, "n"]


class AsymmetricGaussian(NamedTuple):
    """A generalised Gaussian with a width of its own on each side of 0."""

    shape: Float[Tensor, "n"]
    mean: Float[Tensor, "n"]
    left_variance: Float[Tensor, "n"]  # mean square of the negative values
    right_variance: Float[Tensor, "n"]  # mean square of the positive ones


def brisque_features(images: Tensor) -> Float[Tensor, "b 36"]:
    """The features of BRISQUE, 18 at full and 18 at half size.

    (shape, variance) of the normalised luminance, then (shape, mean, left variance, right
    variance) of its products with four neighbours. Luminance in [0, 255], borders filled with
    zeros, half size by antialiased bicubic interpolation, as in the published code. Luminance is
    rounded, so that gradients are zero.

    Args:
        images: (B, 1 or 3, H, W) in [0, 1], at least 14 pixels a side.
    """
    return double_features("brisque_features", images).to(images.dtype)


def double_features(name: str, images: Tensor) -> Float[Tensor, "b 36"]:
    """The features of BRISQUE in double precision, whatever that of the images.

    Luminance is rounded to 1e-4 of 255: an 8-bit image in single precision is whole numbers again.
    The features count the signs of the normalised luminance, which in a flat area are those of
    rounding errors.
    """
    full = luminance(name, images).round(decimals=4)
    sizes = (full, half_size(full))
    features = [field_statistics(normalise(u, "constant").field.squeeze(1)) for u in sizes]
    return torch.cat(features, dim=1)


def luminance(name: str, images: Tensor) -> Float[Tensor, "b 1 h w"]:
    """Luminance in [0, 255] and double precision: squares cancel below."""
    check_images(name, images)
    check_channels(name, images)
    if min(images.shape[-2:]) < 2 * WINDOW:
        raise ValueError(
            f"{name}: expected at least {2 * WINDOW} pixels a side, got {tuple(images.shape)}."
        )
    images = 255 * images.double()
    if images.shape[1] == 1:
        return images
    weights = images.new_tensor(LUMA) / sum(LUMA)
    return (weights.view(3, 1, 1) * images).sum(1, keepdim=True)


def half_size(u: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h1 w1"]:
    """Half size, rounded up, by antialiased bicubic interpolation: imresize(u, 0.5) of MATLAB.

    Along each axis a pixel is a weighted mean of eight, by a cubic of twice its usual width.
    Outside, the image is its mirror image, in which the edge pixel stands twice.

    Source: Keys 1981, doi:10.1109/TASSP.1981.1163711, with a = -1/2.
    """
    t = (torch.arange(8, dtype=u.dtype, device=u.device) - 3.5).abs() / 2
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    weights = torch.where(t <= 1, near, far)
    weights = weights / weights.sum()
    for axis in (-1, -2):
        side = u.shape[axis]
        place = torch.arange(-3, 2 * ((side + 1) // 2) + 3, device=u.device) % (2 * side)
        mirrored = u.index_select(axis, torch.minimum(place, 2 * side - 1 - place))
        u = mirrored.unfold(axis, 8, 2) @ weights
    return u


def normalise(u: Float[Tensor, "b 1 h w"], border: str) -> Normalised:
    """(u - mean) / (std + 1) under a 7 x 7 Gaussian window; u in [0, 255].

    Args:
        border: mode of `torch.nn.functional.pad` for the pixels outside.
    """
    t = torch.arange(WINDOW, dtype=u.dtype, device=u.device) - WINDOW // 2
    g = torch.exp(-t.square() / (2 * STD**2))
    g = torch.outer(g, g)[None, None] / g.sum() ** 2
    u_padded = pad(u, (WINDOW // 2,) * 4, mode=border)
    mean, square = conv2d(u_padded, g), conv2d(u_padded.square(), g)
    contrast = (square - mean.square()).abs().sqrt()
    return Normalised((u - mean) / (contrast + 1), contrast)


def field_statistics(field: Float[Tensor, "n h w"]) -> Float[Tensor, "n 18"]:
    """The 18 features of one size; neighbours wrap around, as in the published code."""
    features = [*fit_generalised_gaussian(field.flatten(1))]
    for shift in SHIFTS:
        products = field * field.roll(shift, (1, 2))
        features += fit_asymmetric_gaussian(products.flatten(1))
    return torch.stack(features, dim=1)


def fit_generalised_gaussian(x: Float[Tensor, "n m"]) -> GeneralisedGaussian:
    """Moment matching, row by row: E[x^2] / E[|x|]^2 gives the shape, between 0.2 and 10."""
    variance = x.square().mean(1)
    return GeneralisedGaussian(_shape(variance + TINY, x.abs().mean(1).square() + TINY), variance)


def fit_asymmetric_gaussian(x: Float[Tensor, "n m"]) -> AsymmetricGaussian:
    """Moment matching with both sides apart, row by row.

    Source: Lasmar, Stitou & Berthoumieu 2009, doi:10.1109/ICIP.2009.5414404.
    """
    square = x.square()
    left, right = (
        ((square * side).sum(1) / side.sum(1).clamp(min=1)).sqrt() for side in (x < 0, x > 0)
    )
    skew = (left + TINY) / (right + TINY)
    correction = (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape = _shape(square.mean(1) + TINY, (x.abs().mean(1).square() + TINY) * correction)
    one, two, three = (torch.lgamma(k / shape) for k in (1, 2, 3))
    mean = (right - left) * (two - one + (one - three) / 2).exp()
    return AsymmetricGaussian(shape, mean, left.square(), right.square())


def _shape(square: Float[Tensor, "n"], mean_square: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """The shape with the given moment ratio, interpolated in a table of step 0.001."""
    ratio = (square / mean_square).detach().cpu().numpy()
    return torch.as_tensor(np.interp(ratio, RATIOS, SHAPES)).to(square)
