"""The one file from which a killed run goes on: whole, or absent."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

from course_lib.project import CourseError
from course_lib.protocols import Dataset
from course_lib.training.settings import FREE, Settings

FORMAT = 1
KEYS = {"settings", "timed", "objective", "data", "step", "skipped", "seconds", "window"}
KEYS |= {"history", "model", "average", "optimisers"}

# What zipfile and torch raise when they read nonsense.
DAMAGES = (BadZipFile, UnpicklingError, EOFError, RuntimeError, ValueError, LookupError)


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write beside the target, wait for the disk, rename: a kill at any moment leaves one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.partial")
    with draft.open("wb") as file:
        torch.save({"format": FORMAT, **content}, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def load(path: Path) -> dict[str, Any]:
    """Content of a saved run, on the CPU.

    Raises:
        CourseError: the file is damaged, or was written by another version of the course.
    """
    try:
        with ZipFile(path) as archive:
            broken = archive.testzip()  # torch.load would not notice a changed bit of a weight
        if broken is not None:
            raise BadZipFile(f"wrong checksum of {broken}")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGES as error:
        reason = str(error).partition("\n")[0]
        raise CourseError(
            f"{path} is damaged ({reason}). Delete it to start the training afresh, or restore it "
            "from a copy."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or KEYS - content.keys():
        raise CourseError(
            f"{path} is not a saved run of format {FORMAT}, which this version of the course "
            "reads. Delete it to start the training afresh."
        )
    return content


def check_same_run(path: Path, saved: dict[str, Any], asked: dict[str, Any]) -> None:
    """Refuse to go on with other settings or data: the result would be that of neither.

    Args:
        path: file of the saved run.
        saved: its content.
        asked: the entries "timed", "settings", "objective" and "data" of the run that goes on.

    Raises:
        CourseError: one of them differs, apart from how often something is written.
    """
    if saved["timed"] != asked["timed"]:
        raise CourseError(
            f"{path} was begun {'with' if saved['timed'] else 'without'} a limit of time in place "
            "of a number of steps. Go on in the same way, or choose another folder."
        )
    kept = {*FREE, "steps"} if saved["timed"] else set(FREE)
    old = {**saved["settings"], "objective": saved["objective"]}
    new = {**asked["settings"], "objective": asked["objective"]}
    for name in sorted((old.keys() | new.keys()) - kept):
        if old.get(name) != new.get(name):
            raise CourseError(
                f"{path} was begun with {name} = {old.get(name)}, and {name} = {new.get(name)} is "
                f"asked for. Go on with {old.get(name)}, or choose another folder (or delete this "
                "one) to start afresh."
            )
    if saved["data"] != asked["data"]:
        raise CourseError(f"{path} was begun with other data. Choose another folder.")


def identity(objective: object, dataset: Dataset, settings: Settings) -> dict[str, Any]:
    """Entries of a saved run that tell it from another one."""
    return {
        "objective": type(objective).__name__,
        "data": _fingerprint(dataset, settings),
        "settings": asdict(settings),
    }


def _fingerprint(dataset: Dataset, settings: Settings) -> str:
    """Hash of the first shard: it changes with the images, their number and their order."""
    batch = dataset[settings.indices(0, len(dataset)).chunk(settings.shards)[0]]
    parts = batch if isinstance(batch, tuple) else (batch,)
    content = b"".join(part.cpu().contiguous().numpy().tobytes() for part in parts)
    return hashlib.sha256(content).hexdigest()[:16]
