"""Every chapter has exercises that check themselves.

That their answers pass after the whole chapter has run is the last item of each notebook, in the
kernel that has just run it: see `exercise_cells` and the `conftest.py` at the root.
"""

import nbformat
import pytest
from exercise_cells import answers, checks

from course_lib.book.chapters import chapters


@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.name)
def test_each_check_has_an_answer(chapter):
    notebook = nbformat.read(chapter.notebook, as_version=4)
    assert len(answers(notebook)) >= len(checks(notebook)) >= 3
