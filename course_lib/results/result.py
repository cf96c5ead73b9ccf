"""A measured number with its provenance, the numbers of one chapter, and what moved in them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Literal, NamedTuple

from course_lib.project import CourseError
from course_lib.results.table import Table, make_table

Status = Literal["same", "moved", "new", "gone", "shown"]


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
        fmt: str | Mapping[str, str] = ".2f",
        best: str | None = None,
        missing: str | None = None,
        half: str | None = None,
    ) -> Table:
        """Numbers side by side.

        Args:
            rows, columns: key in the result's name -> label in the table.
            name: how a row's and a column's key make a result's name.
            fmt: format of one number, or one for each column, by its key.
            best: "max" or "min" sets the best value of each column in bold.
            missing: what to print where no number is stored; None makes that an error.
            half: how the keys make the name of half an interval's width, which follows the number
                as "±" wherever it is stored.
        """

        def lookup(key: str) -> float | None:
            return None if missing is not None and key not in self else self.value(key)

        def width(row: str, column: str) -> float | None:
            key = (half or "").format(row=row, column=column)
            return self.value(key) if key in self else None

        values = [[lookup(name.format(row=r, column=c)) for c in columns] for r in rows]
        halves = [[width(r, c) for c in columns] for r in rows]
        formats = [fmt if isinstance(fmt, str) else fmt[c] for c in columns]
        labels = list(rows.values()), list(columns.values())
        return make_table(values, halves, *labels, formats, best, missing)


class Change(NamedTuple):
    """One name of a chapter: what was stored, what was measured, and whether they agree."""

    status: Status
    stored: Result | None
    measured: Result | None


def compare(stored: Iterable[Result], measured: Iterable[Result]) -> list[Change]:
    """What became of every name.

    The status is "same", "moved", "new", "gone", or "shown" for what is not compared: a number
    without a tolerance, or one that was stored at another budget.
    """
    old, new = ({result.name: result for result in results} for results in (stored, measured))
    pairs = [(old.get(name), new.get(name)) for name in old | new]
    return [Change(_status(*pair), *pair) for pair in pairs]


def _status(old: Result | None, new: Result | None) -> Status:
    if old is None or new is None:
        return "new" if old is None else "gone"
    if old.tolerance is None or old.budget != new.budget:
        return "shown"
    return "same" if old.agrees_with(new) else "moved"
