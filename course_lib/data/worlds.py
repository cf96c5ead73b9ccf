"""The worlds of the course: sets of images that have no end, and real ones, through one door."""

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_lib.data.cache import SPLITS, ImageSet, cached_images
from course_lib.data.crops import Crops
from course_lib.data.decoding import to_bytes
from course_lib.data.photos import TEST_PHOTOS, TUNING_PHOTOS, load_crops
from course_lib.data.real import LOADERS, SETS, Decoding, load_real
from course_lib.project import CourseError

SEEDS = {"train": 0, "validation": 1, "test": 2}
SIDE = 64


class World(NamedTuple):
    """What a rendered world consists of."""

    description: str
    module: str  # of course_lib.data: it has `sample`, `factors` and VERSION
    label: str | None = None  # the factor that serves as label
    colour: bool = False


WORLDS = {
    "portraits": World("rendered portraits", "portraits"),
    "portraits_colour": World("rendered portraits in colour", "portraits", colour=True),
    "plates": World("rendered number plates", "plates", label="character"),
}


def load_world(
    name: str,
    split: str = "train",
    n: int | None = None,
    *,
    seed: int | None = None,
    root: str | Path | None = None,
    n_jobs: int = 1,
    progress: bool = True,
) -> ImageSet:
    """The first n images of a world.

    Args:
        name: "portraits", "portraits_colour" or "plates" (rendered, then cached), "photos" (one
            crop from each bundled photograph, none to train on), or one of the real sets of
            `course_lib.data.real`.
        split: "train", "validation" or "test": of a rendered world, the seeds 0, 1 and 2.
        n: number of images; by default 20,000 to train, 2000 otherwise, and all of a real set
            and of the photographs.
        seed: of a rendered world, instead of the split's own; of crops, which ones.
        root: the folder of a real set.
        n_jobs: workers that render or decode.
        progress: whether to show a progress bar.

    Raises:
        CourseError: an unknown name or split, missing files of a real set, a cache too small.
    """
    if split not in SPLITS:
        raise CourseError(f"load_world: unknown split {split!r}. There are: {', '.join(SPLITS)}.")
    if name in LOADERS:
        how = Decoding(n_jobs=n_jobs, progress=progress)
        crops = None if seed is None else Crops(seed=seed)
        return load_real(name, root, split, n, how, crops=crops)
    count = SPLITS[split] if n is None else n
    if name == "photos":
        return _photographs(split, n, seed or 0)
    if name not in WORLDS:
        known = ", ".join([*WORLDS, "photos", *LOADERS])
        raise CourseError(f"load_world: unknown world {name!r}. There are: {known}.")
    seed = SEEDS[split] if seed is None else seed
    key = f"{name}-v{_module(name).VERSION}-seed{seed}"
    render = partial(_render, name, seed)
    img_size = (3 if WORLDS[name].colour else 1, SIDE, SIDE)
    images = cached_images(key, count, img_size, render, n_jobs=n_jobs, progress=progress)
    return ImageSet(images, *about(name), _labels(name, count, seed))


def _photographs(split: str, n: int | None, seed: int) -> ImageSet:
    """One crop from each of the bundled photographs: those of the tables, or the other ones."""
    names = {"test": TEST_PHOTOS, "validation": TUNING_PHOTOS}.get(split, ())
    if not names:
        raise CourseError(f"load_world: photos are not for training, got split {split!r}.")
    n = len(names) if n is None else n
    if not 1 <= n <= len(names):
        raise CourseError(
            f"load_world: {len(names)} photographs are bundled for the split {split!r}, got n={n}. "
            "Several crops of one photograph are not independent; bsds500_each has 200 photographs."
        )
    crops = load_crops(n, SIDE, seed=seed, names=names)
    return ImageSet(to_bytes(crops.images), *about("photos"))


def about(name: str) -> tuple[str, str]:
    """What the images of a world are, and under which licence."""
    if name in SETS:
        return SETS[name].description, SETS[name].licence
    if name == "photos":
        return "crops of photographs", "public domain or CC0"
    if name in WORLDS:
        return WORLDS[name].description, "MIT, as this package, which renders them"
    return "images of the reader", "that of their owner"


def _labels(name: str, n: int, seed: int) -> Tensor | None:
    """The factor that serves as label: factors are drawn without rendering anything."""
    if (factor := WORLDS[name].label) is None:
        return None
    return getattr(_module(name).factors(torch.arange(n), seed=seed), factor)


def _render(name: str, seed: int, batch: range) -> np.ndarray:
    options = {"colour": True} if WORLDS[name].colour else {}
    images, _ = _module(name).sample(torch.tensor(batch), seed=seed, **options)
    return to_bytes(images).numpy()


def _module(name: str) -> Any:
    return import_module(f"course_lib.data.{WORLDS[name].module}")
