"""Numbers of a chapter: unique names, and help with a wrong one."""

import pytest
from helpers import NUMBER

from course_lib.project import CourseError
from course_lib.results import Results


def test_names_are_unique():
    with pytest.raises(CourseError, match="twice"):
        Results("03_x", [NUMBER, NUMBER])


def test_a_wrong_name_suggests_the_right_one():
    with pytest.raises(KeyError, match="wiener_low"):
        Results("03_x", [NUMBER])["wiener_lo"]
