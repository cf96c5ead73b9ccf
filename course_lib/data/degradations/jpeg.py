"""Baseline JPEG as a function of a batch, without the lossless part (Huffman coding).

JPEG is integer arithmetic, and one coefficient rounded the other way changes 64 pixels. So the
constants are libjpeg's, and whole numbers are computed in float64, which holds them exactly.
"""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from course_lib.data.degradations._batches import PerImage, check_pictures, one_each

# Quantisation tables at quality 50: ITU-T T.81 (1992), annex K.1.
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8 for _ in range(4)),
)
# Y, Cb - 128, Cr - 128 from R, G, B, and back, as JFIF prescribes: in units of 2^-16.
RGB_TO_YCC = ((19595, 38470, 7471), (-11059, -21709, 32768), (32768, -27439, -5329))
YCC_TO_RGB = ((65536, 0, 91881), (65536, -22554, -46802), (65536, 116130, 0))
# 2^13 sqrt(8) times the left half of the orthonormal cosine transform of 8 numbers, in the
# rounding that libjpeg's sums imply; the right half mirrors it, with a minus in odd rows.
COSINES = (
    (8192, 8192, 8192, 8192),
    (11363, 9633, 6437, 2260),
    (10703, 4433, -4433, -10703),
    (9633, -2259, -11362, -6436),
    (8192, -8192, -8192, 8192),
    (6437, -11362, 2261, 9633),
    (4433, -10704, 10704, -4433),
    (2260, -6436, 9633, -11363),
)


def jpeg(x: Tensor, quality: PerImage) -> Tensor:
    """Pictures as JPEG stores them: 8 bits a value, 8 x 8 cosine blocks, quantised.

    Colour is stored as Y, Cb, Cr without chroma subsampling. The answer lies on the grid of
    0, 1, ..., 255 over 255: JPEG rounds and clips. Even quality 100 rounds, so no quality is
    the identity.

    Args:
        x: (B, 1, H, W) grey or (B, 3, H, W) colour, in [0, 1].
        quality: 1 to 100, as in libjpeg, one for all or (B,).

    Raises:
        ValueError: other shapes, or a quality outside 1..100.

    Source: Wallace 1992, doi:10.1109/30.125072; integer arithmetic of libjpeg (jfdctint.c,
    jidctint.c, jcparam.c).
    """
    check_pictures("jpeg", x)
    quality = one_each("jpeg", "quality", quality, x, low=1).double().round()
    if x.shape[1] not in (1, 3) or (quality > 100).any():
        raise ValueError(
            f"jpeg: expected 1 or 3 channels and quality 1 to 100, got {x.shape[1]} channels and "
            f"quality up to {quality.max().item():g}."
        )
    levels = _nearest(255 * x.double()).clamp(0, 255)
    if x.shape[1] == 1:
        return (_coded(levels, _steps(LUMINANCE, quality)) / 255).to(x)
    ycc = _mix_channels(RGB_TO_YCC, levels)
    luma = _coded(_nearest(ycc[:, :1]), _steps(LUMINANCE, quality))
    # Here halves are rounded down, so that saturated blue does not become 256.
    chroma = _coded((ycc[:, 1:] - 0.5).ceil() + 128, _steps(CHROMINANCE, quality)) - 128
    rgb = _mix_channels(YCC_TO_RGB, torch.cat([luma, chroma], 1))
    return (_nearest(rgb).clamp(0, 255) / 255).to(x)


def _steps(table: tuple[tuple[int, ...], ...], quality: Tensor) -> Float[Tensor, "b 1 1 1 8 8"]:
    """The quantisation table at this quality, as libjpeg scales it."""
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    base = torch.tensor(table, dtype=quality.dtype, device=quality.device)
    return ((base * percent[..., None, None] + 50) / 100).floor().clamp(1, 255)


def _coded(plane: Tensor, steps: Tensor) -> Tensor:
    """Levels 0..255 after their cosine coefficients were rounded to multiples of `steps`."""
    height, width = plane.shape[-2:]
    padded = pad(plane, (0, -width % 8, 0, -height % 8), mode="replicate")
    blocks = padded.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4)
    cosines = _cosines().to(plane.device)
    # Each pass keeps so many bits; the coefficients arrive multiplied by 8.
    rows = _nearest((blocks - 128) @ cosines.mT / 2**11)
    coefficients = _nearest(cosines @ rows / 2**15)
    kept = coefficients.sign() * _nearest(coefficients.abs() / (8 * steps)) * steps
    columns = _nearest(cosines.mT @ kept / 2**11)
    decoded = _nearest(columns @ cosines / 2**18) + 128
    joined = decoded.transpose(3, 4).reshape_as(padded)
    return joined[..., :height, :width].clamp(0, 255)


@lru_cache(maxsize=1)
def _cosines() -> Float[Tensor, "8 8"]:
    left = torch.tensor(COSINES, dtype=torch.float64)
    sign = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(4)[:, None]
    return torch.cat([left, sign * left.flip(1)], 1)


def _nearest(x: Tensor) -> Tensor:
    """The nearest whole number; halves go up, as they do with a shift of bits."""
    return (x + 0.5).floor()


def _mix_channels(matrix: tuple[tuple[int, ...], ...], x: Tensor) -> Tensor:
    weights = torch.tensor(matrix, dtype=x.dtype, device=x.device) / 2**16
    return torch.einsum("ij,bjhw->bihw", weights, x)
