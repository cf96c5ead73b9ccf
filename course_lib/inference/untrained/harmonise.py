"""Harmonisation of a collage, or repair of an edit, by a SinGAN."""

from jaxtyping import Float
from torch import Generator, Tensor

from course_lib.models.singan import SinGAN


def harmonise(
    model: SinGAN,
    composite: Float[Tensor, "b c h w"],
    start_scale: int,
    *,
    mask: Tensor | None = None,
    generator: Generator | None = None,
) -> Float[Tensor, "b c h w"]:
    """Make what was pasted into an image look like the rest; or repair an edit of the image.

    The composite is redrawn from start_scale on with the patches of the learnt image. A coarse
    start changes the shape of the pasted object too, a fine one its texture only.

    Args:
        model: trained on the image without the pasted object.
        composite: (B, C, H, W) in [0, 1], the naive one.
        start_scale: as in `SinGAN.inject`.
        mask: (1 or B, 1, H, W), 1 where the drawing replaces the composite, 0 where the composite
            stays, between them a blend; everywhere 1 by default. Let it reach some pixels beyond
            the object.
        generator: for the noise; None draws without noise.

    Raises:
        ValueError: shapes that do not fit, a mask outside [0, 1], a scale that is not there.

    Source: Rott Shaham, Dekel & Michaeli 2019, arXiv:1905.01164, section 4.
    """
    drawn = model.inject(composite, start_scale, generator=generator)
    if mask is None:
        return drawn
    batch, _, *size = composite.shape
    if mask.shape[0] not in (1, batch) or list(mask.shape[1:]) != [1, *size]:
        raise ValueError(
            f"harmonise: expected a mask of shape (1 or {batch}, 1, {size[0]}, {size[1]}), got "
            f"{tuple(mask.shape)}."
        )
    if not ((mask >= 0) & (mask <= 1)).all():
        raise ValueError("harmonise: expected a mask with values in [0, 1].")
    return mask * drawn + (1 - mask) * composite
