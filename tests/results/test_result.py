"""Numbers of a chapter: unique names, help with a wrong one, and what moved."""

from dataclasses import replace

import pytest
from helpers import NUMBER

from course_lib.project import CourseError
from course_lib.results import Results, compare


def test_names_are_unique():
    with pytest.raises(CourseError, match="twice"):
        Results("03_x", [NUMBER, NUMBER])


def test_a_wrong_name_suggests_the_right_one():
    with pytest.raises(KeyError, match="wiener_low"):
        Results("03_x", [NUMBER])["wiener_lo"]


@pytest.mark.parametrize(
    ("value", "tolerance", "status"),
    [(28.5, 0.05, "same"), (28.54, 0.05, "same"), (28.6, 0.05, "moved"), (99.0, None, "shown")],
)
def test_compare(value, tolerance, status):
    stored = replace(NUMBER, tolerance=tolerance)
    assert compare([stored], [replace(stored, value=value)])[0][0] == status


def test_numbers_of_two_budgets_are_not_compared():
    assert compare([NUMBER], [replace(NUMBER, value=9.0, budget="smoke")])[0][0] == "shown"


def test_compare_sees_new_and_gone():
    assert [change[0] for change in compare([], [NUMBER])] == ["new"]
    assert [change[0] for change in compare([NUMBER], [])] == ["gone"]
