"""Experiments carry their command; a budget is one of three."""

from dataclasses import replace

import pytest
from helpers import NUMBER

from course_lib.project import CourseError
from course_lib.results import (
    Result,
    budget,
    check_photographs,
    compute,
    experiment,
    experiments,
    on_bundled,
)
from course_lib.results.registry import BUDGETS


def test_an_experiment_carries_its_command():
    bare = replace(NUMBER, experiment="", budget="", command="", machine="")

    @experiment("99_nowhere", cheap=True)
    def psnr(budget: str) -> list[Result]:
        return [bare]

    (chosen,) = experiments("99_nowhere")
    (full,), (smoke,) = compute(chosen, "full"), compute(chosen, "smoke")
    assert full.command == "course results 99_nowhere --store"
    assert smoke.command == "COURSE_BUDGET=smoke course results 99_nowhere --store"
    assert (full.experiment, full.budget, full.value) == ("psnr", "full", 28.5)


def test_a_cheap_experiment_on_photographs_adds_numbers_that_a_test_recomputes():
    """The full numbers need photographs of BSDS500; those named "bundled_" do not."""

    @experiment("98_nowhere", cheap=True, on_photographs=True)
    def psnr(budget: str) -> list[Result]:
        return [replace(NUMBER, name="level", value={"full": 2.0, "class": 1.0}[budget])]

    (chosen,) = experiments("98_nowhere")
    found = {(r.name, r.budget): r.value for r in compute(chosen, "full")}
    assert found == {("level", "full"): 2.0, ("bundled_level", "class"): 1.0}
    (bundled,) = on_bundled(chosen)
    assert bundled.value == 1.0
    assert bundled.command == "course results 98_nowhere --store"  # which stores both


def test_missing_photographs_are_refused_before_any_work(monkeypatch, tmp_path):
    @experiment("97_nowhere", on_photographs=True)
    def psnr(budget: str) -> list[Result]:
        raise AssertionError

    chosen = experiments("97_nowhere")
    monkeypatch.delenv("COURSE_DATA_DIR", raising=False)
    check_photographs(chosen, "class")
    with pytest.raises(CourseError, match=r"say where it is.*COURSE_DATA_DIR"):
        check_photographs(chosen, "full")
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    with pytest.raises(CourseError, match="a folder of jpg photographs"):
        check_photographs(chosen, "full")


def test_budget(monkeypatch):
    monkeypatch.delenv("COURSE_BUDGET", raising=False)
    assert budget() == "class"
    for value in BUDGETS:
        monkeypatch.setenv("COURSE_BUDGET", value)
        assert budget() == value
    monkeypatch.setenv("COURSE_BUDGET", "huge")
    with pytest.raises(CourseError, match="smoke, class, full"):
        budget()
