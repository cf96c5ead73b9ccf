"""Every stored notebook belongs to its script, and shows the numbers that are stored."""

import nbformat
import pytest

from course_lib.book.chapters import chapters
from course_lib.book.pairs import pair_problems
from course_lib.results import load_results, stored_names

GLUED = "application/papermill.record/text/plain"
by_name = {"ids": lambda chapter: chapter.name}


@pytest.mark.parametrize("chapter", chapters(), **by_name)
def test_script_and_notebook_are_a_pair(chapter):
    assert pair_problems(chapter) == []


@pytest.mark.slow
@pytest.mark.parametrize("chapter", [c for c in chapters() if c.notebook.exists()], **by_name)
def test_glued_numbers_are_the_stored_numbers(chapter):
    stored = {
        (name, repr(result.value))
        for file in stored_names()
        for name, result in load_results(file).items()
    }
    glued = {
        (output.metadata["scrapbook"]["name"], output.data[GLUED])
        for cell in nbformat.read(chapter.notebook, as_version=4).cells
        for output in cell.get("outputs", [])
        if GLUED in output.get("data", {})
    }
    assert glued <= stored, "execute the chapter again, or store the number"
