"""The edition without solutions, made from the chapters and never edited by hand.

Code between `### BEGIN SOLUTION` and `### END SOLUTION` gives way to a NotImplementedError, and so
does a whole cell without markers that is tagged `solution` or stands between solution-start and
solution-end. Solution blocks leave the prose, and hidden cells that assert the book's numbers.
"""

import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from shutil import copyfile

import jupytext
from jupytext.config import load_jupytext_config
from nbformat import NotebookNode

from course_lib.book.chapters import Chapter
from course_lib.book.execute import read_source, run_notebook, write_notebook
from course_lib.project import CourseError, write_atomically
from course_lib.results import load_results

YOUR_TURN = 'raise NotImplementedError("Your turn: write your answer here.")'
REGION = re.compile(r"(?ms)^([ \t]*)### BEGIN SOLUTION[^\n]*\n.*?^[ \t]*### END SOLUTION[^\n]*$")
GLUED = re.compile(r"\{glue:text\}`(?P<name>\w+)(?::(?P<format>[^`]*))?`")
MARKER = re.compile(r"### (?:BEGIN|END) SOLUTION")
DIRECTIVE = re.compile(r"\s*(?P<fence>`{3,}|:{3,})\{(?P<name>solution(?:-start|-end)?)\}")


def write_student_edition(
    chapter: Chapter, folder: Path, tick: Callable[[], object] = lambda: None
) -> None:
    """Write a chapter's pair without solutions, if running it raises only NotImplementedError."""
    if folder.resolve() == chapter.source.parent.resolve():
        raise CourseError(f"{folder} holds the chapters themselves: choose another folder.")
    notebook = without_solutions(read_source(chapter.source))
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_numbers(cell.source, chapter.name)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        run_notebook(deepcopy(notebook), folder, tick, allowed_errors=("NotImplementedError",))
    except CourseError as error:
        raise CourseError(
            f"{chapter.name} without solutions: {error}\n\nOnly NotImplementedError may be raised. "
            "If the cell needs an answer, tag it `solution`, or make the answer a function's body."
        ) from None
    header = load_jupytext_config(str(chapter.source))  # no version in the header
    script = jupytext.writes(notebook, fmt="py:percent", config=header)
    write_atomically(folder / chapter.source.name, script)
    write_notebook(notebook, folder / chapter.notebook.name)
    copyfile(chapter.source.parent / "jupytext.toml", folder / "jupytext.toml")


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """A copy of a notebook in which no solution is left."""
    student = deepcopy(notebook)
    student.cells, inside = [], False
    for number, cell in enumerate(deepcopy(notebook.cells), start=1):
        if cell.cell_type == "code":
            if not _asserts_in_hiding(cell):
                student.cells.append(_blank_code(cell, inside, number))
            continue
        cell.source, inside = _strip_prose(cell.source, inside, number)
        if cell.source.strip():
            student.cells.append(cell)
    if inside:
        raise CourseError("A solution-start has no solution-end.")
    return student


def with_numbers(prose: str, chapter: str) -> str:
    """Prose in which each glued number is written out: Jupyter does not know the role."""

    def number(quote: re.Match) -> str:
        return format(load_results(chapter).value(quote["name"]), quote["format"] or "")

    return GLUED.sub(number, prose)


def _asserts_in_hiding(cell: NotebookNode) -> bool:
    hidden = "remove-cell" in cell.metadata.get("tags", [])
    return hidden and re.search(r"^\s*assert\b", cell.source, re.MULTILINE) is not None


def _blank_code(cell: NotebookNode, inside: bool, number: int) -> NotebookNode:
    source, replaced = REGION.subn(rf"\1{YOUR_TURN}", cell.source)
    if MARKER.search(source):
        raise CourseError(f"Cell {number}: BEGIN SOLUTION and END SOLUTION do not come in pairs.")
    is_solution = inside or "solution" in cell.metadata.get("tags", [])
    if replaced or is_solution:
        cell.source = source if replaced else YOUR_TURN
        cell.metadata.pop("tags", None)
        cell.metadata.pop("mystnb", None)
    return cell


def _strip_prose(source: str, inside: bool, number: int) -> tuple[str, bool]:
    """Prose without solution blocks, and whether a solution-start is open at its end."""
    kept, fence = [], ""
    for line in source.splitlines():
        if fence:
            is_closing = len(line.strip()) >= len(fence) and set(line.strip()) == {fence[0]}
            fence = "" if is_closing else fence
        elif opening := DIRECTIVE.match(line):
            fence = opening["fence"]
            inside = {"solution-start": True, "solution-end": False}.get(opening["name"], inside)
        elif not inside:
            kept.append(line)
    if fence:
        raise CourseError(f"Cell {number}: a solution block is not closed.")
    return "\n".join(kept).strip("\n"), inside
