"""The one file from which a killed run goes on: whole, or not there."""

import os
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

from course_lib.project import CourseError

FORMAT = 1
KEYS = {"settings", "timed", "objective", "step", "skipped", "seconds", "window", "history"}
KEYS |= {"model", "average", "optimisers"}

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
    """The content of a checkpoint, on the CPU.

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
            f"{path} is not a checkpoint of format {FORMAT}, which this version of the course "
            "reads. Delete it to start the training afresh."
        )
    return content
