"""A student's way: run all, come back to an exercise, fill it in, run its check."""

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

AGAIN = """
import contextlib as _contextlib, io as _io
for _check in {checks!r}:
    for _answer in {answers!r}:
        exec(_answer, globals())
    with _contextlib.redirect_stdout(_io.StringIO()) as _printed:
        exec(_check, globals())
    assert _printed.getvalue().startswith("✓"), _printed.getvalue()
"""


def answers(notebook: NotebookNode) -> list[str]:
    """The cells that a student writes, filled in."""
    return [c.source for c in _code(notebook) if "solution" in c.metadata.get("tags", [])]


def checks(notebook: NotebookNode) -> list[str]:
    """The cells that judge an answer."""
    return [c.source for c in _code(notebook) if "\ncheck_" in f"\n{c.source}"]


def exercises_again(notebook: NotebookNode) -> NotebookNode:
    """A cell that fills in and checks every exercise once more, after the whole chapter has run.

    Variables that later cells use again must not break an earlier exercise.
    """
    written = [source for source in answers(notebook) if "### BEGIN" in source]
    return new_code_cell(AGAIN.format(checks=checks(notebook), answers=written))


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]
