"""How many numbers are stored, and which of them are computed again by what."""

from collections.abc import Iterable
from typing import NamedTuple

from course_lib.results.registry import BUNDLED, Experiment, experiments
from course_lib.results.result import Result
from course_lib.results.storage import load_results, stored_names


class Census(NamedTuple):
    """Counts of stored numbers.

    Those with a tolerance that an experiment computes are recomputed by the nightly run; those of
    them that take seconds also by the tests.
    """

    stored: int
    by_hand: int  # by scripts of benchmarks/
    shown: int  # by experiments, without a tolerance
    nightly: int
    tested: int


def census() -> Census:
    """Count the stored numbers of the course."""
    counts = dict.fromkeys(Census._fields, 0)
    for name in stored_names():
        known = {experiment.name: experiment for experiment in experiments(name)}
        for result in load_results(name).values():
            experiment = known.get(result.experiment)
            counts["stored"] += 1
            counts["by_hand"] += experiment is None
            counts["shown"] += experiment is not None and result.tolerance is None
            counts["nightly"] += experiment is not None and result.tolerance is not None
            if experiment is not None and result.tolerance is not None:
                counts["tested"] += bool(recomputed_by_tests(experiment, [result]))
    return Census(**counts)


def recomputed_by_tests(chosen: Experiment, stored: Iterable[Result]) -> list[Result]:
    """The stored numbers of an experiment that the tests compute again.

    Those of a cheap one; on photographs that do not come with the course, its bundled numbers.
    """
    own = [result for result in stored if result.experiment == chosen.name and chosen.cheap]
    if chosen.on_photographs:
        return [result for result in own if result.name.startswith(BUNDLED)]
    return own
