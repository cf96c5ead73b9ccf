"""Random mixtures: which damage a picture has, and how much of it."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Generator, Tensor

from course_lib.data.degradations._batches import check_pictures, chosen, on_rows, uniform
from course_lib.data.degradations.global_damage import (
    gaussian_blur,
    gaussian_noise,
    resolution_loss,
    salt_and_pepper,
    speckle,
)
from course_lib.data.degradations.jpeg import jpeg
from course_lib.data.degradations.local_damage import (
    Damaged,
    damage_rows,
    dust,
    folds,
    missing_corners,
    scratches,
    stains,
    untouched,
)

KINDS: dict[str, Callable[..., Damaged]] = {
    "stains": stains,
    "folds": folds,
    "dust": dust,
    "scratches": scratches,
    "missing_corners": missing_corners,
}


def unstructured(x: Tensor, *, generator: Generator, chance: float = 0.7) -> Tensor:
    """Blur, noise, loss of resolution and JPEG in a random order, each with probability `chance`.

    Each picture has its own order and its own strengths: blur with a 3, 5 or 7 pixel kernel of
    std 1 to 5; Gaussian noise or speckle with sigma 5/255 to 50/255, or salt and pepper on up to
    1% of the pixels; sides shrunk to 1/2 to 1 and enlarged again; JPEG of quality 40 to 100.

    Args:
        x: (B, C, H, W) in [0, 1], C = 1 or 3.
        generator: all draws come from it.
        chance: of each operation, from 0 (the identity) to 1.

    Source: Wan et al. 2020, "Bringing Old Photos Back to Life", arXiv:2004.09484.
    """
    check_pictures("unstructured", x, generator)
    operations = (_random_blur, _random_noise, _random_resolution, _random_jpeg)
    order = uniform(x, 0, 1, generator, (4,)).argsort(1)
    active = uniform(x, 0, 1, generator, (4,)) < chance
    for turn in range(4):
        for number, operation in enumerate(operations):
            rows = (order[:, turn] == number) & active[:, number]
            x = on_rows(x, rows, partial(operation, generator=generator))
    return x


def structured(
    x: Tensor,
    *,
    generator: Generator,
    kinds: Sequence[str] = tuple(KINDS),
    chance: float = 0.5,
    fill: float = 1.0,
) -> Damaged:
    """Each kind of local damage with probability `chance`, one over the other.

    Args:
        x: (B, C, H, W) in [0, 1].
        generator: all draws come from it.
        kinds: some of `KINDS`, painted in this order.
        chance: of each kind in each picture.
        fill: the tone of bare paper, where the picture is lost.

    Returns:
        The painted pictures and the union of the masks. Outside it the pictures are untouched.

    Raises:
        ValueError: a kind that does not exist.
    """
    check_pictures("structured", x, generator)
    unknown = set(kinds) - set(KINDS)
    if unknown:
        raise ValueError(
            f"structured: unknown kinds {sorted(unknown)}. There are: {', '.join(KINDS)}."
        )
    damaged = untouched(x)
    for kind in kinds:
        rows = chosen(x, chance, generator)
        paint = partial(KINDS[kind], generator=generator, fill=fill)
        damaged = damage_rows(damaged, rows, paint)
    return damaged


def _random_blur(x: Tensor, *, generator: Generator) -> Tensor:
    size = 3 + 2 * uniform(x, 0, 3, generator).floor()
    return gaussian_blur(x, uniform(x, 1, 5, generator), size)


def _random_noise(x: Tensor, *, generator: Generator) -> Tensor:
    """One of three kinds for each picture."""
    kinds = (_random_gaussian, _random_speckle, _random_salt_and_pepper)
    drawn = uniform(x, 0, len(kinds), generator).floor()
    for number, kind in enumerate(kinds):
        x = on_rows(x, drawn == number, partial(kind, generator=generator))
    return x


def _random_gaussian(x: Tensor, *, generator: Generator) -> Tensor:
    return gaussian_noise(x, uniform(x, 5 / 255, 50 / 255, generator), generator=generator)


def _random_speckle(x: Tensor, *, generator: Generator) -> Tensor:
    return speckle(x, uniform(x, 5 / 255, 50 / 255, generator), generator=generator)


def _random_salt_and_pepper(x: Tensor, *, generator: Generator) -> Tensor:
    amount, salt = uniform(x, 0, 0.01, generator), uniform(x, 0.3, 0.8, generator)
    return salt_and_pepper(x, amount, salt, generator=generator)


def _random_resolution(x: Tensor, *, generator: Generator) -> Tensor:
    return resolution_loss(x, uniform(x, 0.5, 1, generator), chosen(x, 0.5, generator))


def _random_jpeg(x: Tensor, *, generator: Generator) -> Tensor:
    return jpeg(x, uniform(x, 40, 101, generator).floor())
