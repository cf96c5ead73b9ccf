"""Enlargement of a photograph by a SinGAN that learnt it."""

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from course_lib.metrics.images import signed_to_unit, unit_to_signed
from course_lib.models.singan import SinGAN


def singan_enlarge(
    model: SinGAN,
    image: Float[Tensor, "b c h w"],
    factor: float,
    *,
    passes: int | None = None,
    generator: Generator | None = None,
) -> Float[Tensor, "b c H W"]:
    """Enlarge by factor^(1/k) and let the finest generator add detail, k times over.

    The generator has learnt what such an enlargement lacks at the finest scale of the image, and
    assumes that details look alike at the scales beyond it. Nothing holds the result to the
    measurement: it need not shrink to the image that it came from.

    Args:
        model: trained on the small image itself (or on one like it).
        image: (B, C, H, W) in [0, 1].
        factor: of enlargement, above 1; sides are rounded.
        passes: k; by default the number for which factor^(1/k) is closest to model.ratio, the step
            that the generator was trained for.
        generator: for the noise; None adds the detail that belongs to no noise.

    Raises:
        ValueError: a factor that does not enlarge, no pass, or another number of channels.

    Source: Rott Shaham, Dekel & Michaeli 2019, arXiv:1905.01164, section 4.
    """
    model.check_channels(image)
    if not 1 < factor < math.inf:
        raise ValueError(f"singan_enlarge: expected a factor above 1, got {factor}.")
    if passes is None:
        step = math.log(model.ratio) if model.scales > 1 else math.log(factor)
        passes = max(1, round(math.log(factor) / step))
    if passes < 1:
        raise ValueError(f"singan_enlarge: expected passes >= 1, got {passes}.")
    sizes = [
        tuple(round(side * factor ** (k / passes)) for side in image.shape[-2:])
        for k in range(1, passes + 1)
    ]
    x = unit_to_signed(image)
    with torch.no_grad():
        for size in sizes:
            (z,) = model.noises(len(x), [size], generator)
            x = model.refine(x, model.scales - 1, z)
    return signed_to_unit(x)
