"""Stored numbers are counted by what computes them again."""

from dataclasses import replace

import pytest
from helpers import NUMBER

from course_lib.results import (
    Census,
    Experiment,
    census,
    recomputed_by_tests,
    registry,
    store_results,
)


@pytest.fixture
def course(tmp_path, monkeypatch):
    """Three experiments of a chapter: cheap, cheap on photographs, costly; and a benchmark."""
    (tmp_path / "book" / "results").mkdir(parents=True)
    monkeypatch.setenv("COURSE_ROOT", str(tmp_path))
    found = {
        name: Experiment("03_x", name, lambda budget: [], name != "costly", name == "photos")
        for name in ("cheap", "photos", "costly")
    }
    monkeypatch.setattr(registry, "_REGISTRY", {"03_x": found})
    numbers = [
        replace(NUMBER, name="a", experiment="cheap"),
        replace(NUMBER, name="seconds", experiment="cheap", tolerance=None),
        replace(NUMBER, name="b", experiment="photos"),
        replace(NUMBER, name="bundled_b", experiment="photos", budget="class"),
        replace(NUMBER, name="c", experiment="costly"),
    ]
    store_results("03_x", numbers)
    store_results("benchmarks", [replace(NUMBER, experiment="")])
    return found, numbers


def test_numbers_are_counted(course):
    assert census() == Census(stored=6, by_hand=1, shown=1, nightly=4, tested=2)


def test_the_tests_recompute_cheap_numbers_that_need_no_other_photographs(course):
    found, numbers = course
    names = {
        key: [r.name for r in recomputed_by_tests(chosen, numbers)] for key, chosen in found.items()
    }
    assert names == {"cheap": ["a", "seconds"], "photos": ["bundled_b"], "costly": []}
