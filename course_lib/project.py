"""Where the course lives, how its files are written, and the error that is meant for its reader."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class CourseError(Exception):
    """Something that the reader can put right: `course` prints the message and stops."""


def course_root() -> Path:
    """The folder of notebooks/ and book/: COURSE_ROOT if it is set, else the one of the package.

    The working directory plays no part. A package that was installed without its checkout needs
    COURSE_ROOT for the commands that read chapters or stored numbers.

    Raises:
        CourseError: COURSE_ROOT names a folder without `book/results`.
    """
    chosen = os.environ.get("COURSE_ROOT")
    if not chosen:
        return Path(__file__).resolve().parents[1]
    root = Path(chosen).resolve()
    if not (root / "book" / "results").is_dir():
        raise CourseError(f"COURSE_ROOT={chosen} is no course: it has no folder book/results.")
    return root


def cache_folder() -> Path:
    """COURSE_CACHE_DIR, or `course_lib` in the user's cache folder."""
    if chosen := os.environ.get("COURSE_CACHE_DIR"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        parent = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        parent = Path.home() / "Library" / "Caches"
    else:
        parent = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(parent) / "course_lib"


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """A draft beside `path`, renamed to it at the end: a killed run leaves the old file whole.

    An error or an interruption removes the draft.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, text: str) -> None:
    """Write a text, whole or not at all."""
    with draft_of(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="\n")
