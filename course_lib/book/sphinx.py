"""Sphinx extension: the build fails when a stored notebook holds a failed cell.

The book shows stored outputs and executes nothing, so Sphinx alone would print a traceback as if
it were a result.
"""

from pathlib import Path

import nbformat
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError


def failed_cells(notebook: Path) -> list[str]:
    """One line for each stored error of a notebook, except in cells tagged `raises-exception`."""
    cells = nbformat.read(notebook, as_version=4).cells
    return [
        f"{notebook.name}, cell {number}: {output.ename}: {output.evalue}"
        for number, cell in enumerate(cells, start=1)
        for output in cell.get("outputs", [])
        if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", [])
    ]


def refuse_failed_cells(app: Sphinx) -> None:
    """Stop before the first page is read."""
    notebooks = sorted((Path(app.srcdir) / "notebooks").glob("*.ipynb"))
    if failed := [line for notebook in notebooks for line in failed_cells(notebook)]:
        raise ExtensionError("A chapter failed when it was executed:\n" + "\n".join(failed))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the refusal with Sphinx."""
    app.connect("builder-inited", refuse_failed_cells)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
