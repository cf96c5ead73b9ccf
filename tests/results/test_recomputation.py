"""Numbers computed again: chosen by name, kept through an interruption, merged into the file."""

from dataclasses import replace

import pytest
from helpers import NUMBER

from course_lib.project import CourseError
from course_lib.results import (
    Experiment,
    check_budget,
    choose,
    forget,
    load_results,
    merge,
    recompute,
    registry,
    store_results,
    stored_of,
)

CHAPTER = "03_x"
BARE = replace(NUMBER, experiment="", budget="", command="", machine="")


@pytest.fixture
def course(tmp_path, monkeypatch):
    """An empty course, named by COURSE_ROOT."""
    (tmp_path / "book" / "results").mkdir(parents=True)
    monkeypatch.setenv("COURSE_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def calls(course, monkeypatch):
    """A registry of two chapters, and the names of the experiments that have run."""
    ran: list[str] = []

    def fake(chapter: str, name: str, value: float) -> Experiment:
        def run(budget: str) -> list:
            ran.append(name)
            return [replace(BARE, name=f"{name}_value", value=value)]

        return Experiment(chapter, name, run, cheap=True)

    first = {name: fake(CHAPTER, name, i) for i, name in enumerate(("one", "two", "three"))}
    other = {"four": fake("04_y", "four", 4)}
    monkeypatch.setattr(registry, "_REGISTRY", {CHAPTER: first, "04_y": other})
    return ran


def numbers(chosen, budget="full"):
    return [result for experiment in chosen for result in recompute(experiment, budget)]


def test_experiments_are_chosen_by_name(calls):
    assert [e.name for e in choose([CHAPTER])[CHAPTER]] == ["one", "two", "three"]
    chosen = choose([CHAPTER, "04_y"], ["four", "two"])
    assert {name: [e.name for e in found] for name, found in chosen.items()} == {
        CHAPTER: ["two"],
        "04_y": ["four"],
    }
    with pytest.raises(CourseError, match=r"No experiment fuor .* four, one, three, two"):
        choose([CHAPTER, "04_y"], ["one", "fuor"])


def test_what_was_computed_before_a_kill_is_kept(calls):
    chosen = choose([CHAPTER])[CHAPTER]
    before = recompute(chosen[0], "full")

    def killed(experiment, budget):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recompute(chosen[1], "full", killed)
    assert numbers(chosen)[:1] == before
    assert calls == ["one", "two", "three"]  # the first one has not run again
    forget(chosen, "full")
    numbers(chosen)
    assert calls == ["one", "two", "three"] * 2


def test_kept_numbers_belong_to_their_budget_code_and_photographs(calls, monkeypatch):
    (one, *_) = choose([CHAPTER])[CHAPTER]
    recompute(one, "full")
    recompute(one, "smoke")
    assert calls == ["one"] * 2
    monkeypatch.setattr("course_lib.results.recomputation.conditions", lambda: "other code")
    recompute(one, "full")
    assert calls == ["one"] * 3


def test_only_the_chosen_numbers_are_replaced(calls):
    chosen = choose([CHAPTER])[CHAPTER]
    first = numbers(chosen)
    gone = replace(first[0], name="old", experiment="removed")
    store_results(CHAPTER, [*first, gone])
    new = [replace(first[1], value=7.0)]
    assert [r.name for r in stored_of(CHAPTER, [chosen[1]])] == ["two_value", "old"]
    merge(CHAPTER, [chosen[1]], new)
    values = {name: result.value for name, result in load_results(CHAPTER).items()}
    assert list(values.items()) == [("one_value", 0), ("two_value", 7), ("three_value", 2)]


def test_one_file_has_one_budget(calls):
    chosen = choose([CHAPTER])[CHAPTER]
    measured = numbers(chosen)
    bundled = replace(measured[0], name="bundled_one_value", budget="class")
    merge(CHAPTER, chosen, [*measured, bundled])  # which is what the tests compute, at any budget
    check_budget(CHAPTER, chosen, "smoke")  # all of them are replaced
    check_budget(CHAPTER, chosen[:1], "full")
    with pytest.raises(CourseError, match="stored at the budget full"):
        check_budget(CHAPTER, chosen[:1], "smoke")
