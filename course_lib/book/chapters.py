"""A chapter is a file `notebooks/NN_slug.py`; what is said about it is read from that file."""

import re
from dataclasses import dataclass
from pathlib import Path

from course_lib.project import CourseError, course_root


@dataclass(frozen=True)
class Chapter:
    """One chapter; `source` is what people edit, `notebook` its executed twin."""

    source: Path

    @property
    def name(self) -> str:
        """As in "03_tychonov_wiener"."""
        return self.source.stem

    @property
    def number(self) -> int:
        """As in 3."""
        return int(self.name.split("_")[0])

    @property
    def slug(self) -> str:
        """As in "tychonov_wiener"."""
        return self.name.split("_", 1)[1]

    @property
    def notebook(self) -> Path:
        """The executed twin, beside the source."""
        return self.source.with_suffix(".ipynb")

    @property
    def title(self) -> str:
        """The first heading, without its number and without what follows a long dash."""
        found = re.search(r"^# # (?:\d+\.\s*)?(.+?)\s*(?:—.*)?$", self._text, re.MULTILINE)
        return found[1] if found else self.slug.replace("_", " ").capitalize()

    @property
    def shows(self) -> str:
        """The first sentence after "You will see" in the opening cell, or ""."""
        opening = re.sub(r"^# ?", "", self._text, flags=re.MULTILINE)
        found = re.search(r"(?s)You will see[\s*:]*(.+?)(?:[.;][\s*]|\n\s*\n|\*\w|\Z)", opening)
        return " ".join(found[1].split()).rstrip("*._ ") if found else ""

    @property
    def _text(self) -> str:
        return self.source.read_text(encoding="utf-8")


def chapters() -> list[Chapter]:
    """All chapters of the course, in order."""
    folder = course_root() / "notebooks"
    return [Chapter(path) for path in sorted(folder.glob("[0-9][0-9]_*.py"))]


def find_chapter(name: str) -> Chapter:
    """A chapter by "3", "03", "tychonov_wiener" or "03_tychonov_wiener"."""
    known = chapters()
    for chapter in known:
        is_number = name.isdecimal() and int(name) == chapter.number
        if is_number or name in (chapter.name, chapter.slug):
            return chapter
    listing = ", ".join(chapter.name for chapter in known) or (
        f"none in {course_root()}/notebooks; set COURSE_ROOT to the folder of the course"
    )
    raise CourseError(f"There is no chapter {name!r}. The chapters are: {listing}.")


def find_chapters(names: list[str]) -> list[Chapter]:
    """Chapters by name, all of them when no name is given."""
    return [find_chapter(name) for name in names] if names else chapters()
