"""The HTML build refuses a notebook with a failed cell."""

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

from course_lib.book.sphinx import failed_cells


def write(folder, **metadata):
    error = new_output("error", ename="ZeroDivisionError", evalue="division by zero", traceback=[])
    cells = [new_code_cell("1 + 1"), new_code_cell("1 / 0", outputs=[error], metadata=metadata)]
    path = folder / "01_x.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def test_a_failed_cell_is_named(tmp_path):
    assert failed_cells(write(tmp_path)) == [
        "01_x.ipynb, cell 2: ZeroDivisionError: division by zero"
    ]


def test_a_failure_on_purpose_is_none(tmp_path):
    assert failed_cells(write(tmp_path, tags=["raises-exception"])) == []
