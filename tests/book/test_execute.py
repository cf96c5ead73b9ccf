"""The runner: the same bytes twice, and nothing stored when something is wrong."""

import nbformat
import pytest

from course_lib.book.budgets import Budget, budget_card, load_budgets, store_budget
from course_lib.book.execute import execute, read_source
from course_lib.book.pairs import pair_problems
from course_lib.project import CourseError

COST = Budget(cpu_seconds=10.0, wall_seconds=8.0, peak_memory_mb=400.0, machine="a machine")


@pytest.mark.slow
def test_two_runs_store_the_same_bytes(write_chapter):
    chapter, ticks = write_chapter(), []
    cost = execute(chapter, tick=lambda: ticks.append(1))
    first = chapter.notebook.read_bytes()
    assert len(ticks) == 6  # a new chapter runs twice, so that its card is up to date
    assert load_budgets() == {chapter.name: cost}
    assert cost.cpu_seconds > 0
    assert cost.peak_memory_mb > 10

    execute(chapter)
    assert chapter.notebook.read_bytes() == first
    stored = nbformat.reads(first.decode(), as_version=4)
    assert stored.cells[2].outputs[0].text == "2\ntwice\n"
    assert "widgets" not in stored.metadata
    assert pair_problems(chapter) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", "Cell 2 failed.*1 / 0.*ZeroDivisionError"),
        ("import sys; print('careful', file=sys.stderr)", "stderr.*careful"),
        ("import warnings; warnings.warn('old')", "stderr.*old"),
    ],
)
def test_a_cell_that_fails_or_warns_is_not_stored(write_chapter, code, message):
    chapter = write_chapter(f"# %%\nx = 1\n\n# %%\n{code}\n")
    with pytest.raises(CourseError, match=f"(?s){message}"):
        execute(chapter)
    assert not chapter.notebook.exists()
    assert load_budgets() == {}


def test_cell_ids_follow_the_content(write_chapter):
    before = read_source(write_chapter("# %%\na\n\n# %%\nb\n\n# %%\na\n").source).cells
    after = read_source(write_chapter("# %%\nnew\n\n# %%\na\n\n# %%\nb\n").source).cells
    assert before[0].id != before[2].id
    assert [cell.id for cell in before[:2]] == [cell.id for cell in after[1:]]


def test_the_card_says_what_was_measured(course):
    assert "not measured yet" in str(budget_card("07_tiny_case"))
    store_budget("07_tiny_case", COST)
    card = budget_card("07_tiny_case")
    assert "10 s of CPU time" in str(card)
    assert str(card) in card._repr_html_()
    assert str(card) in card._repr_markdown_()


@pytest.mark.parametrize(
    ("cpu_seconds", "memory", "differs"),
    [(12.0, 400.0, False), (13.0, 400.0, True), (7.0, 400.0, True), (10.0, 501.0, True)],
)
def test_a_quarter_is_a_move(cpu_seconds, memory, differs):
    new = Budget(cpu_seconds, 100.0, memory, "another machine")
    assert new.differs_from(COST) is differs
    assert new.differs_from(None)
