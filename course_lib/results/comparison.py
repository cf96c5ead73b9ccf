"""Stored numbers beside recomputed ones."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from course_lib.results.result import Result

Status = Literal["same", "moved", "new", "gone", "shown"]


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
