"""The stored form of a number: its fields, its file, and what is refused when the file is read."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any

from course_lib.project import CourseError, course_root, write_atomically
from course_lib.results.table import Table, make_table

SCHEMA = 1


@dataclass(frozen=True)
class Result:
    """One measured number.

    Args:
        name: unique in its chapter; the key of `glue`.
        value: the measurement, in `unit`.
        unit: "dB", "s", or "" for a pure number.
        tolerance: the absolute change that a recomputation may show; None for what depends on the
            machine (seconds): shown in the book, never compared by a test.
        data: what was measured on, in words.
        n: number of images (or problems) behind the value.
        seed: seed of the noise, None when nothing is random.
        experiment, budget, command, machine: provenance, filled in when the number is stored.
    """

    name: str
    value: float
    unit: str
    tolerance: float | None
    data: str
    n: int
    seed: int | None
    experiment: str = ""
    budget: str = ""
    command: str = ""
    machine: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise CourseError("A result needs a name.")
        if not isfinite(self.value):
            raise CourseError(f"Result {self.name!r}: the value must be finite, got {self.value}.")
        if self.tolerance is not None and not 0 <= self.tolerance < float("inf"):
            raise CourseError(
                f"Result {self.name!r}: the tolerance must be None or a finite number >= 0, "
                f"got {self.tolerance}."
            )

    def agrees_with(self, other: "Result") -> bool:
        """True when the two values differ by at most the tolerance, or when there is none."""
        return self.tolerance is None or abs(self.value - other.value) <= self.tolerance


class Results(Mapping[str, Result]):
    """The stored numbers of one chapter, by name."""

    def __init__(self, chapter: str, results: list[Result]) -> None:
        self.chapter = chapter
        self._by_name = {result.name: result for result in results}
        names = [result.name for result in results]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise CourseError(f"Results of {chapter}: names must be unique, twice: {twice}.")

    def __getitem__(self, name: str) -> Result:
        if name not in self._by_name:
            near = get_close_matches(name, self._by_name, n=3) or list(self._by_name)[:3]
            raise KeyError(f"{self.chapter} stores no result {name!r}; did you mean {near}?")
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def value(self, name: str) -> float:
        """The number alone."""
        return self[name].value

    def glue(self) -> None:
        """Offer every value to the prose: write {glue:text}`name:.1f` in a markdown cell."""
        from myst_nb import glue

        for result in self.values():
            glue(result.name, result.value, display=False)

    def table(
        self,
        rows: Mapping[str, str],
        columns: Mapping[str, str],
        name: str = "{row}_{column}",
        fmt: str = ".2f",
        best: str | None = None,
        best_in: str = "column",
        missing: str | None = None,
    ) -> Table:
        """Numbers side by side.

        Args:
            rows, columns: key in the result's name -> label in the table.
            name: how a row's and a column's key make a result's name.
            fmt: format of one number.
            best: "max" or "min" sets the best value in bold.
            best_in: "column" or "row", among which values the best is sought.
            missing: what to print where no number is stored; None makes that an error.
        """

        def lookup(key: str) -> float | None:
            return None if missing is not None and key not in self else self.value(key)

        values = [[lookup(name.format(row=r, column=c)) for c in columns] for r in rows]
        labels = list(rows.values()), list(columns.values())
        return make_table(values, *labels, fmt, best, best_in, missing)


def stored_names() -> list[str]:
    """Every chapter, or other source of numbers, that has a results file."""
    folder = course_root() / "book" / "results"
    return sorted(path.stem for path in folder.glob("*.json") if path.stem != "budgets")


def results_path(chapter: str) -> Path:
    """The file of a chapter's numbers."""
    return course_root() / "book" / "results" / f"{chapter}.json"


def store_results(chapter: str, results: list[Result]) -> Path:
    """Write a chapter's numbers; duplicates are refused, a killed run leaves the old file."""
    document = {
        "schema": SCHEMA,
        "chapter": chapter,
        "results": [asdict(result) for result in Results(chapter, results).values()],
    }
    path = results_path(chapter)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")
    return path


def load_results(chapter: str) -> Results:
    """Read and check `book/results/<chapter>.json`."""
    path = results_path(chapter)
    if not path.exists():
        raise CourseError(
            f"No stored results for {chapter!r} (looked for {path}). "
            f"Stored: {', '.join(stored_names()) or 'none'}. "
            f"Compute them with: course results {chapter} --store, or set COURSE_ROOT to the "
            "folder of the course."
        )
    return parse_results(path.read_text(encoding="utf-8"), where=path.name)


def parse_results(text: str, where: str) -> Results:
    """Check a results document and return its numbers; `where` names it in the messages."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise CourseError(f"{where} is not JSON: {error}.") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise CourseError(f'{where}: expected an object with "schema": {SCHEMA}. Store it again.')
    if lacking := {"chapter", "results"} - document.keys():
        raise CourseError(f"{where}: missing {sorted(lacking)}.")
    return Results(
        document["chapter"],
        [_parse(entry, f"{where}, entry {i}") for i, entry in enumerate(document["results"])],
    )


def _parse(entry: Any, where: str) -> Result:
    expected = {field.name for field in fields(Result)}
    if not isinstance(entry, dict) or (expected ^ entry.keys()):
        found = entry.keys() if isinstance(entry, dict) else set()
        raise CourseError(
            f"{where}: missing {sorted(expected - found)}, unknown {sorted(found - expected)}."
        )
    number = (int, float)
    optional = type(None)
    kinds = {"value": number, "tolerance": (*number, optional), "n": int, "seed": (int, optional)}
    for key in sorted(expected):
        if not isinstance(entry[key], kinds.get(key, str)) or isinstance(entry[key], bool):
            raise CourseError(f"{where}: {key} has the wrong type, got {entry[key]!r}.")
    if not entry["command"]:
        raise CourseError(f"{where}: a number without a command is not a measurement.")
    tolerance = entry["tolerance"]
    floats = {
        "value": float(entry["value"]),
        "tolerance": None if tolerance is None else float(tolerance),
    }
    return Result(**(entry | floats))
