"""The numbers of the book: reproducible, found again, with tolerances that mean something."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

import pytest
from helpers import NUMBER

from course_lib.book.chapters import chapters
from course_lib.metrics.fetched import NotFetched
from course_lib.results import (
    Result,
    compare,
    compute,
    experiments,
    load_results,
    on_bundled,
    recomputed_by_tests,
    stored_names,
)

CHEAP = [
    pytest.param(chosen, id=f"{chapter.name}:{chosen.name}")
    for chapter in chapters()
    for chosen in experiments(chapter.name)
    if chosen.cheap
]


@pytest.mark.slow
@pytest.mark.parametrize("chosen", CHEAP)
def test_stored_numbers_are_found_again(chosen):
    """Numbers on photographs that do not come with the course: those of the bundled ones."""
    stored = recomputed_by_tests(chosen, load_results(chosen.chapter).values())
    assert stored, f"{chosen.name} is not stored: course results {chosen.chapter} --store"
    try:
        if chosen.on_photographs:
            measured = on_bundled(chosen)
        else:
            measured = compute(chosen, stored[0].budget)
    except NotFetched as missing:
        pytest.skip(str(missing))
    moved = [change for change in compare(stored, measured) if change[0] not in ("same", "shown")]
    assert not moved


@pytest.mark.parametrize("name", stored_names())
def test_every_results_file_is_valid_and_reproducible(name):
    results = load_results(name)
    assert results.chapter == name
    runnable = {chosen.name for chosen in experiments(name)}
    for result in results.values():
        if result.command.startswith("course results"):  # else a script of benchmarks/
            assert result.experiment in runnable


def wide_tolerances(results: Iterable[Result]) -> list[tuple[str, str, str]]:
    """The groups (experiment, unit, first word of the name) whose tolerance hides their size.

    A number near zero may have a tolerance above its value, but not above a quarter of the largest
    number of its kind: then a wrong sign or a lost digit would pass.
    """
    kinds = defaultdict(list)
    for result in results:
        if result.tolerance is not None:
            kinds[result.experiment, result.unit, result.name.split("_")[0]].append(result)
    return [
        kind
        for kind, group in sorted(kinds.items())
        if max(r.tolerance for r in group) > max(0.25 * max(abs(r.value) for r in group), 1e-9)
    ]


STILL_WIDE: dict[str, list[tuple[str, str, str]]] = {}  # from before the rule; it only shrinks


@pytest.mark.parametrize("name", stored_names())
def test_a_tolerance_means_something(name):
    assert wide_tolerances(load_results(name).values()) == STILL_WIDE.get(name, [])


@pytest.mark.parametrize(("tolerance", "is_wide"), [(0.05, False), (7.0, False), (8.0, True)])
def test_a_wide_tolerance_is_seen(tolerance, is_wide):
    pair = [replace(NUMBER, tolerance=tolerance), replace(NUMBER, name="wiener_gain", value=0.1)]
    assert bool(wide_tolerances(pair)) is is_wide
