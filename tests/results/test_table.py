"""A table of numbers in HTML, Markdown and text."""

from dataclasses import replace

import pytest
from helpers import NUMBER

from course_lib.project import CourseError
from course_lib.results import Results


def grid() -> Results:
    values = {"a_x": 1.0, "b_x": 2.0, "a_y": 4.0}
    return Results("c", [replace(NUMBER, name=name, value=value) for name, value in values.items()])


ROWS, COLUMNS = {"a": "A & A", "b": "B"}, {"x": "X", "y": "Y"}


def test_table_marks_the_best_of_each_column():
    table = grid().table(ROWS, COLUMNS, best="max", missing="–")
    assert table.bold == {(1, 0), (0, 1)}
    assert "<td><strong>2.00</strong></td><td>–</td>" in table._repr_html_()
    assert "A &amp; A" in table._repr_html_()
    assert table._repr_markdown_().splitlines()[-1] == "| B | **2.00** | – |"
    assert repr(table).splitlines()[1] == "A & A   1.00  4.00*"


def test_a_number_may_stand_with_half_of_its_interval_and_a_column_in_a_format_of_its_own():
    values = {"a_x": 1.0, "b_x": -2.04, "b_half_x": 0.25, "a_y": 0.5, "b_y": 4.0}
    results = Results("c", [replace(NUMBER, name=k, value=v) for k, v in values.items()])
    formats = {"x": "+.1f", "y": ".3f"}
    table = results.table(ROWS, COLUMNS, fmt=formats, best="min", half="{row}_half_{column}")
    assert table.cells == [["+1.0", "0.500"], ["-2.0 ± 0.2", "4.000"]]
    assert table.bold == {(1, 0), (0, 1)}


def test_table_refuses_what_it_does_not_know():
    with pytest.raises(KeyError, match="b_y"):
        grid().table(ROWS, COLUMNS)
    with pytest.raises(CourseError, match="best="):
        grid().table(ROWS, {"x": "X"}, best="largest")
