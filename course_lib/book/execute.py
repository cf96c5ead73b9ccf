"""From `NN_slug.py` to the executed `NN_slug.ipynb`: one way, the same bytes on every run.

The notebook is written only when every cell ran without an error and without a word on stderr.
"""

import json
import os
import sys
from ast import literal_eval
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from course_lib.book.budgets import Budget, load_budgets, store_budget
from course_lib.book.chapters import Chapter
from course_lib.project import CourseError, write_atomically
from course_lib.results import machine

CELL_TIMEOUT = 600  # seconds
LANGUAGE = {"name": "python", "file_extension": ".py", "pygments_lexer": "ipython3"}
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
USAGE = "(lambda r: (r[0] + r[1], r[2]))(__import__('resource').getrusage(0))"
MEMORY_UNIT = 2**20 if sys.platform == "darwin" else 2**10  # of ru_maxrss, in one MB


def execute(chapter: Chapter, tick: Callable[[], object] = lambda: None) -> Budget:
    """Run a chapter and store its outputs; when its cost moved, run again so that its card is true.

    Args:
        chapter: which one.
        tick: called after each cell, to move a progress bar.
    """
    notebook, cost = run_notebook(read_source(chapter.source), chapter.source.parent, tick)
    if cost.differs_from(load_budgets().get(chapter.name)):
        store_budget(chapter.name, cost)
        notebook, _ = run_notebook(read_source(chapter.source), chapter.source.parent, tick)
    notebook.metadata["outputs"] = output_digests(notebook)
    write_notebook(notebook, chapter.notebook)
    return cost


def read_source(path: Path) -> NotebookNode:
    """A percent-format file as a notebook without outputs, with cell ids made from the content."""
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": LANGUAGE})
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        digest = sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        cell.id = f"{digest}-{seen[digest]}"
        seen[digest] += 1
    return notebook


def run_notebook(
    notebook: NotebookNode,
    folder: Path,
    tick: Callable[[], object] = lambda: None,
    allowed_errors: tuple[str, ...] = (),
) -> tuple[NotebookNode, Budget]:
    """Execute in a fresh kernel that works in `folder`; errors and stderr are refused."""
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name=KERNEL["name"],
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--log-level=ERROR"],
        record_timing=False,
        coalesce_streams=True,
        store_widget_state=False,
        allow_error_names=list(allowed_errors),
    )
    start = perf_counter()
    with client.setup_kernel(env=_environment()):
        for index, cell in enumerate(notebook.cells):
            try:
                client.execute_cell(cell, index, execution_count=client.code_cells_executed + 1)
            except CellExecutionError as error:
                raise CourseError(f"Cell {index + 1} failed, nothing was stored. {error}") from None
            _refuse_stderr(index, cell)
            tick()
        cpu_seconds, peak_memory = _usage(client)
    wall_seconds = perf_counter() - start
    memory_mb = float(round(peak_memory / MEMORY_UNIT))
    return notebook, Budget(round(cpu_seconds, 1), round(wall_seconds, 1), memory_mb, machine())


def output_digests(notebook: NotebookNode) -> dict[str, str]:
    """A digest of what each cell shows, by cell id, in which a swapped or edited output is seen."""
    return {
        cell.id: sha256(json.dumps(cell.outputs, sort_keys=True).encode()).hexdigest()[:12]
        for cell in notebook.cells
        if cell.get("outputs")
    }


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """Store a notebook, whole or not at all."""
    nbformat.validate(notebook)
    write_atomically(path, nbformat.writes(notebook) + "\n")


def _environment() -> dict[str, str]:
    """One thread and a fixed hash seed: the outputs do not depend on the machine's cores."""
    return {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONHASHSEED": "0"}


def _usage(client: NotebookClient) -> tuple[float, int]:
    """CPU seconds and peak resident size of the kernel, asked of the kernel itself."""
    kernel: Any = client.kc
    request = kernel.execute("", silent=True, user_expressions={"usage": USAGE})
    reply: Any = client.wait_for_reply(request)
    return literal_eval(reply["content"]["user_expressions"]["usage"]["data"]["text/plain"])


def _refuse_stderr(index: int, cell: NotebookNode) -> None:
    for output in cell.get("outputs", []):
        if output.output_type == "stream" and output.name == "stderr":
            raise CourseError(
                f"Cell {index + 1} wrote to stderr, nothing was stored. Remove the warning or the "
                f"progress bar.\n\n{cell.source}\n\n{output.text}"
            )
