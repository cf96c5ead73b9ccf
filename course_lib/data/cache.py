"""Sets of images, and the folder where they are kept once they were rendered or decoded.

The folder is COURSE_CACHE_DIR, else the user's own cache folder, and holds at most
COURSE_CACHE_MAX_MB megabytes (2000): the sets that were used least recently make room.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from joblib import Parallel, delayed
from torch import Tensor
from tqdm import tqdm

from course_lib.project import CourseError, cache_folder
from course_lib.protocols import ImageSize

SHARD = 1024  # images in one file
BATCH = 64  # images made by one call
SPLITS = {"train": 20_000, "validation": 2_000, "test": 2_000}  # images, unless n says otherwise
_SHARD_NAME = "[0-9][0-9][0-9][0-9][0-9].npy"


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images in memory, one byte a channel, handed out as floats.

    `images[i]` is a batch for a LongTensor i: (B, C, H, W) float32 in [0, 1].
    """

    images: UInt8[Tensor, "n c h w"]
    description: str
    licence: str
    labels: Tensor | None = None  # (n,) integers: the character, the class or the person

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Tensor | slice) -> Float[Tensor, "b c h w"]:
        if isinstance(index, slice):
            return self.images[index].float() / 255
        if not isinstance(index, Tensor) or index.ndim != 1:
            raise TypeError(
                f"ImageSet: expected a slice or a tensor of indices (b,), got {index!r}. "
                "For one image use images[i : i + 1]."
            )
        return self.images[index.to(self.images.device)].float() / 255

    def to(self, device: str | torch.device) -> "ImageSet":
        """The same set in the memory of another device."""
        labels = None if self.labels is None else self.labels.to(device)
        return replace(self, images=self.images.to(device), labels=labels)


@dataclass(frozen=True)
class CacheEntry:
    """One set on disk."""

    name: str
    files: int
    bytes: int
    last_used: datetime


def cache_limit() -> int:
    """The most that the cache may hold, in bytes.

    Raises:
        CourseError: COURSE_CACHE_MAX_MB is not a number.
    """
    text = os.environ.get("COURSE_CACHE_MAX_MB", "2000")
    try:
        return int(float(text) * 1e6)
    except (ValueError, OverflowError):
        raise CourseError(
            f"COURSE_CACHE_MAX_MB: expected megabytes such as 2000, got {text!r}."
        ) from None


def cache_info() -> list[CacheEntry]:
    """What is cached, least recently used first."""
    entries = []
    for folder in cache_folder().glob("*/"):
        sizes = [shard.stat().st_size for shard in folder.glob(_SHARD_NAME)]
        if sizes:
            used = datetime.fromtimestamp(folder.stat().st_mtime)
            entries.append(CacheEntry(folder.name, len(sizes), sum(sizes), used))
    return sorted(entries, key=lambda entry: (entry.last_used, entry.name))


def clear_cache(name: str | None = None) -> list[CacheEntry]:
    """Remove one entry, all those of a world ("plates"), or everything; returns what went.

    Raises:
        CourseError: there is no such entry.
    """
    entries = cache_info()
    chosen = [e for e in entries if name in (None, e.name) or e.name.startswith(f"{name}-")]
    if name is not None and not chosen:
        known = ", ".join(entry.name for entry in entries) or "nothing"
        raise CourseError(f"{name!r} is not in the cache {cache_folder()}, which holds {known}.")
    for entry in chosen:
        _remove(entry.name)
    return chosen


def cached_images(
    name: str,
    n: int,
    img_size: ImageSize,
    make: Callable[[range], np.ndarray],
    *,
    n_jobs: int = 1,
    prefer: str = "processes",
    progress: bool = True,
) -> UInt8[Tensor, "n c h w"]:
    """The first n images of a set: those on disk are read, the others made and stored.

    Files hold up to 1024 images and are never half written, so an interrupted run goes on where
    it stopped; a file that is damaged is made again.

    Args:
        name: the entry in the cache; it must change whenever `make` would give other images.
        n: number of images; the first ones must not depend on n.
        img_size: (C, H, W) of one image.
        make: a range of at most 64 indices to images, (len, C, H, W) uint8.
        n_jobs: workers that call `make`.
        prefer: "processes" or "threads", the kind of worker.
        progress: whether to show a progress bar.

    Raises:
        CourseError: the images do not fit in the cache's limit, or cannot be written.
    """
    if n < 1:
        raise ValueError(f"cached_images({name!r}): expected n >= 1, got {n}.")
    images = np.empty((n, *img_size), np.uint8)
    batches = []
    for first in range(0, n, SHARD):
        last = min(first + SHARD, n)
        stored = _read(_shard_path(name, first), img_size)[: last - first]
        images[first : first + len(stored)] = stored
        starts = range(first + len(stored), last, BATCH)
        batches += [range(start, min(start + BATCH, last)) for start in starts]
    if batches:
        missing = sum(map(len, batches))
        _make_room(name, images.nbytes, images[:1].nbytes * missing)
        made = Parallel(n_jobs, prefer=prefer, return_as="generator")(
            delayed(make)(batch) for batch in batches
        )
        done = 0
        with tqdm(total=missing, desc=name, unit=" images", disable=not progress) as bar:
            try:
                for batch, part in zip(batches, made, strict=True):
                    images[batch.start : batch.stop], done = np.asarray(part), batch.stop
                    if done % SHARD == 0:
                        _write(_shard_path(name, done - SHARD), images[done - SHARD : done])
                    bar.update(len(batch))
            finally:  # the end, or an interruption
                if rest := done % SHARD:
                    _write(_shard_path(name, done - rest), images[done - rest : done])
    with suppress(OSError):  # a cache that is read only serves as well
        os.utime(cache_folder() / name)  # the time of last use
    return torch.from_numpy(images)


def _shard_path(name: str, first: int) -> Path:
    return cache_folder() / name / f"{first // SHARD:05d}.npy"


def _read(path: Path, img_size: ImageSize) -> np.ndarray:
    """The images of one file; none of them if it is absent or damaged."""
    nothing = np.empty((0, *img_size), np.uint8)
    try:
        stored = np.load(path)
    except (OSError, ValueError, EOFError):
        return nothing
    return stored if stored.dtype == np.uint8 and stored.shape[1:] == img_size else nothing


def _write(path: Path, images: np.ndarray) -> None:
    """Write beside the target, then rename: a killed run leaves no half file."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            np.save(file, images)
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise CourseError(
            f"{path} cannot be written ({error}). "
            "Set COURSE_CACHE_DIR to a folder with room, or run `course data clear`."
        ) from error


def _make_room(name: str, total: int, missing: int) -> None:
    """Remove the other entries, least recently used first, until `missing` bytes fit."""
    limit = cache_limit()
    if total > limit:
        raise CourseError(
            f"{name} needs {total / 1e6:.0f} MB, more than the cache may hold: "
            f"{limit / 1e6:.0f} MB. Ask for fewer images or raise COURSE_CACHE_MAX_MB."
        )
    entries = cache_info()
    used = sum(entry.bytes for entry in entries)
    for entry in entries:
        if used + missing <= limit:
            break
        if entry.name != name:
            _remove(entry.name)
            used -= entry.bytes


def _remove(name: str) -> None:
    """Delete an entry's own files, and nothing that someone else put beside them."""
    folder = cache_folder() / name
    for file in folder.glob(f"{_SHARD_NAME}*"):
        file.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
