"""Whole old photographs: the distribution to train on, another one to test on, and a table."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Generator, Tensor

from course_lib.data.degradations import recipes
from course_lib.data.degradations._batches import check_pictures, chosen, on_rows, uniform
from course_lib.data.degradations.global_damage import (
    banding,
    fading,
    film_grain,
    halftone,
    motion_blur,
    vignette,
)
from course_lib.data.degradations.local_damage import (
    Damaged,
    curved_scratches,
    damage_rows,
    untouched,
)


def old_photo(
    x: Tensor, *, generator: Generator, unstructured: bool = True, structured: bool = True
) -> Damaged:
    """Unstructured damage to the whole picture, then structured damage over it.

    The mask shows the structured damage alone. Pixels outside it are blurred, noisy and
    compressed, yet seen; pixels inside it are covered.
    """
    check_pictures("old_photo", x, generator)
    if unstructured:
        x = recipes.unstructured(x, generator=generator)
    return recipes.structured(x, generator=generator) if structured else untouched(x)


def shifted_old_photo(x: Tensor, *, generator: Generator) -> Damaged:
    """Damage that `old_photo` never makes, to test what a method does beyond its training.

    Each picture has a clouded vignette (0.2 to 0.7) and smeared Poisson grain (40 to 400
    photons); most are blurred by motion (2 to 7 pixels); some have a halftone screen, bands, or
    wide curved scratches, which alone are in the mask.
    """
    check_pictures("shifted_old_photo", x, generator)
    for chance, change in (
        (0.8, _random_motion),
        (1.0, _random_vignette),
        (1.0, _random_grain),
        (0.3, _random_halftone),
        (0.5, _random_banding),
    ):
        rows = chosen(x, chance, generator)
        x = on_rows(x, rows, partial(change, generator=generator))
    rows = chosen(x, 0.7, generator)
    return damage_rows(untouched(x), rows, partial(curved_scratches, generator=generator))


def faded(x: Tensor, *, generator: Generator) -> Damaged:
    """An `old_photo` whose blacks, whites and colours have faded as well."""
    check_pictures("faded", x, generator)
    return old_photo(fading(x, uniform(x, 0.5, 1, generator)), generator=generator)


# Called as PRESETS[name](x, generator=generator); each answers Damaged(image, mask).
PRESETS: dict[str, Callable[..., Damaged]] = {
    "old": old_photo,
    "worn": partial(old_photo, structured=False),
    "faded": faded,
    "cracked": partial(recipes.structured, kinds=("folds", "scratches"), chance=1.0),
    "dusty": partial(recipes.structured, kinds=("dust",), chance=1.0),
    "stained": partial(recipes.structured, kinds=("stains", "dust"), chance=1.0),
    "torn": partial(recipes.structured, kinds=("folds", "missing_corners"), chance=1.0),
    "shifted": shifted_old_photo,
}


def _random_motion(x: Tensor, *, generator: Generator) -> Tensor:
    return motion_blur(x, uniform(x, 2, 7, generator), uniform(x, 0, torch.pi, generator))


def _random_vignette(x: Tensor, *, generator: Generator) -> Tensor:
    return vignette(x, uniform(x, 0.2, 0.7, generator), generator=generator)


def _random_grain(x: Tensor, *, generator: Generator) -> Tensor:
    return film_grain(x, uniform(x, 40, 400, generator), generator=generator)


def _random_halftone(x: Tensor, *, generator: Generator) -> Tensor:
    return halftone(x, uniform(x, 0.1, 0.3, generator), uniform(x, 3, 6, generator))


def _random_banding(x: Tensor, *, generator: Generator) -> Tensor:
    return banding(x, uniform(x, 0.02, 0.08, generator), generator=generator)
