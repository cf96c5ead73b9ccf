"""Property checks for the exercises of the chapters."""

from course_lib.exercises.all import *  # noqa: F403
