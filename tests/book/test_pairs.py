"""The pair check sees every way in which a notebook can leave its script."""

import nbformat
import pytest

from course_lib.book.execute import write_notebook
from course_lib.book.pairs import pair_problems


def test_a_missing_notebook_is_a_problem(write_chapter):
    assert "course execute" in pair_problems(write_chapter())[0]


@pytest.fixture
def executed(write_chapter, tiny_notebook):
    chapter = write_chapter()
    chapter.notebook.write_bytes(tiny_notebook)
    assert pair_problems(chapter) == []
    return chapter


def stderr():
    return nbformat.v4.new_output("stream", name="stderr", text="careful")


def address():
    return nbformat.v4.new_output("stream", name="stdout", text="<object at 0x7f00deadbeef>")


def error():
    return nbformat.v4.new_output("error", ename="ValueError", evalue="", traceback=[])


def swap(first, second):
    """Two cells with each other's outputs."""
    first.outputs, second.outputs = second.outputs, first.outputs


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda nb: nb.cells.pop(), "3 cells, the notebook 2"),
        (lambda nb: nb.cells[1].update(source="x = 3"), "cell 2: source differs"),
        (lambda nb: nb.cells[2].metadata.tags.append("hide-input"), "cell 3: metadata differs"),
        (lambda nb: nb.cells[1].update(execution_count=5), "execution counts"),
        (lambda nb: nb.metadata.update(widgets={}), "metadata"),
        (lambda nb: swap(*nb.cells[1:]), "cell 2: shows what `course execute` did not store"),
        (lambda nb: nb.cells[2].outputs[0].update(text="2\nthrice\n"), "cell 3: shows what"),
        (lambda nb: nb.cells[1].outputs.clear(), "cell 2: shows what"),
        (lambda nb: nb.cells[1].outputs.append(stderr()), "stderr"),
        (lambda nb: nb.cells[1].outputs.append(address()), "memory address"),
        (lambda nb: nb.cells[1].outputs.append(error()), "an error (ValueError)"),
        (lambda nb: nb.cells[1].update(source="x = 1" + " + 1" * 20), "longer than 79"),
    ],
)
def test_a_spoiled_notebook_is_seen(executed, spoil, message):
    notebook = nbformat.read(executed.notebook, as_version=4)
    spoil(notebook)
    write_notebook(notebook, executed.notebook)
    assert message in "\n".join(pair_problems(executed))
