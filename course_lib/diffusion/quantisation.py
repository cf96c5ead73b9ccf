"""Densities of images in files, which hold 8-bit numbers."""

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from course_lib.rng import check_generator


def bits_per_dimension(
    nats: Float[Tensor, "*b"], n: int, data_range: float = 1.0
) -> Float[Tensor, "*b"]:
    """q / (n log 2) + log2(256 / data_range): bits for each number of an 8-bit image.

    A grey level is a cell of width data_range / 256. Multiplying images by c adds n log c to their
    potential, so potentials of different ranges must not be compared.

    Args:
        nats: potentials q, of any shape.
        n: number of values in an image.
        data_range: 1 for images in [0, 1]; 2 for those in [-1, 1], as published ones are.
    """
    return nats / (n * math.log(2)) + math.log2(256 / data_range)


def dequantise(x: Float[Tensor, "b c h w"], *, generator: Generator) -> Float[Tensor, "b c h w"]:
    """(255 x + u) / 256 with u uniform in [0, 1): an 8-bit image spread over its grey levels.

    The values k / 255 of a file have no density; these do, and cost at least as many bits as the
    file.

    Raises:
        ValueError: x does not hold multiples of 1/255.

    Source: Theis, van den Oord & Bethge 2016, arXiv:1511.01844.
    """
    check_generator("dequantise", generator)
    levels = 255 * x
    if (levels - levels.round()).abs().max() > 1e-3:
        raise ValueError(
            "dequantise: expected 8-bit images, multiples of 1/255. Round them first: "
            "(255 * x).round() / 255."
        )
    noise = torch.rand(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
    return (levels.round() + noise.to(x.device)) / 256
