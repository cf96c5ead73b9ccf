"""What the loaders share: files that exist, splits, and decoded images in the cache."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from course_lib.data.cache import cached_images
from course_lib.data.crops import Cropper, Crops
from course_lib.data.decoding import centred_square
from course_lib.data.real.descriptions import SETS
from course_lib.project import CourseError

VERSION = 0  # of the decoding: a new number leaves the cached images aside


@dataclass(frozen=True)
class Decoding:
    """How picture files become images.

    Args:
        size: side of an image, in pixels.
        colour: three channels instead of one.
        n_jobs: number of threads.
        progress: whether to show a progress bar.
    """

    size: int = 64
    colour: bool = False
    n_jobs: int = 1
    progress: bool = True


def existing(path: Path, what: str, name: str | None = None) -> Path:
    """The path itself, or an error with what is there instead and where to get the files."""
    if path.exists():
        return path
    parent = next(p for p in path.absolute().parents if p.is_dir())
    found = ", ".join(sorted(p.name for p in parent.iterdir())[:8]) or "nothing"
    source = f" Get it from {SETS[name].source}." if name in SETS else ""
    raise CourseError(f"Expected {what} at {path}; {parent} holds {found}.{source}")


def images_under(folder: Path, what: str, name: str | None = None) -> tuple[Path, ...]:
    """All jpg and png files of a folder that must exist and its sub-folders, by name."""
    suffixes = (".jpg", ".jpeg", ".png")
    found = existing(folder, what, name).rglob("*")
    if files := sorted(p for p in found if p.suffix.lower() in suffixes):
        return tuple(files)
    raise CourseError(f"{folder} and its sub-folders hold no jpg or png file.")


def in_split(split: str, number: np.ndarray) -> np.ndarray:
    """Persons (or files) number 8, 18, ... are for validation, 9, 19, ... for the test."""
    last = number % 10
    return {"train": last < 8, "validation": last == 8, "test": last == 9}[split]


def count(name: str, n: int | None, available: int) -> int:
    """n, or all that are available.

    Raises:
        CourseError: there are none, or fewer than n.
    """
    if available == 0:
        raise CourseError(f"{name}: this split has no image at all in the given folder.")
    if n is not None and not 1 <= n <= available:
        raise CourseError(f"{name}: {n} images were asked for, the split has {available}.")
    return available if n is None else n


def decoded(
    name: str, files: Sequence[Path], n: int | None, how: Decoding, cut: int | None = None
) -> UInt8[Tensor, "n c h w"]:
    """The centred squares, of side `cut`, of the first n files, through the cache."""

    def make(batch: range) -> np.ndarray:
        squares = [centred_square(files[i], how.size, colour=how.colour, cut=cut) for i in batch]
        return np.stack(squares)

    return _cached(name, files, (cut,), count(name, n, len(files)), make, how)


def cropped(
    name: str, files: tuple[Path, ...], n: int, crops: Crops, how: Decoding
) -> UInt8[Tensor, "n c h w"]:
    """n random crops, through the cache."""
    make = Cropper(files, crops, how.size, how.colour)
    options = (crops.scales, crops.seed, *(["one each"] if crops.one_each else []))
    return _cached(name, files, options, n, make, how)


def _cached(
    name: str,
    files: Sequence[Path],
    options: tuple[object, ...],
    n: int,
    make: Callable[[range], np.ndarray],
    how: Decoding,
) -> UInt8[Tensor, "n c h w"]:
    """Images under a name that changes with the files, the options and the decoding."""
    try:
        stats = [(file.name, (s := file.stat()).st_size, s.st_mtime_ns) for file in files]
    except FileNotFoundError as error:
        raise CourseError(f"{name}: {error.filename} is listed but missing.") from error
    options = (how.size, how.colour, *options)
    facts = (VERSION, str(files[0].parent.absolute()), stats, options)
    key = f"{name}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:12]}"
    size = (3 if how.colour else 1, how.size, how.size)
    return cached_images(
        key, n, size, make, n_jobs=how.n_jobs, prefer="threads", progress=how.progress
    )
