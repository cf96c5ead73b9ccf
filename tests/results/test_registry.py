"""Experiments carry their command; a budget is one of three."""

from dataclasses import replace

import pytest
from helpers import NUMBER

from course_lib.project import CourseError
from course_lib.results import Result, budget, compute, experiment, experiments
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


def test_budget(monkeypatch):
    monkeypatch.delenv("COURSE_BUDGET", raising=False)
    assert budget() == "class"
    for value in BUDGETS:
        monkeypatch.setenv("COURSE_BUDGET", value)
        assert budget() == value
    monkeypatch.setenv("COURSE_BUDGET", "huge")
    with pytest.raises(CourseError, match="smoke, class, full"):
        budget()
