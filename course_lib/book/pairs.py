"""Does an executed notebook still belong to its script?"""

import re
from collections.abc import Iterator

import nbformat
from nbformat import NotebookNode

from course_lib.book.chapters import Chapter
from course_lib.book.execute import output_digests, read_source

CODE_WIDTH = 79  # longer lines scroll out of the box on the page
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")


def pair_problems(chapter: Chapter) -> list[str]:
    """What is wrong with a chapter's pair, in words; empty when all is well."""
    if not chapter.notebook.exists():
        return [f"{chapter.notebook.name} is missing: run `course execute {chapter.name}`"]
    stored = nbformat.read(chapter.notebook, as_version=4)
    return [*_differences(read_source(chapter.source), stored), *_blemishes(stored)]


def _differences(source: NotebookNode, stored: NotebookNode) -> Iterator[str]:
    if len(source.cells) != len(stored.cells):
        counts = f"the script has {len(source.cells)} cells, the notebook {len(stored.cells)}"
        yield f"{counts}: execute it"
        return
    written = {"outputs": stored.metadata.get("outputs", {}), **source.metadata}
    if stored.metadata != written:
        yield "the notebook's metadata is not what `course execute` writes"
    for number, (ours, theirs) in enumerate(zip(source.cells, stored.cells, strict=True), start=1):
        for key in ("cell_type", "source", "metadata", "id"):
            if ours[key] != theirs.get(key):
                yield f"cell {number}: {key} differs between script and notebook: execute it"
                break


def _blemishes(stored: NotebookNode) -> Iterator[str]:
    codes = [(n, cell) for n, cell in enumerate(stored.cells, start=1) if cell.cell_type == "code"]
    counts = [cell.execution_count for _, cell in codes if cell.source.strip()]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts are {counts}, not 1 to {len(counts)}: execute it from the top"
    digests, executed = output_digests(stored), stored.metadata.get("outputs", {})
    for number, cell in codes:
        if digests.get(cell.id) != executed.get(cell.id):
            yield f"cell {number}: shows what `course execute` did not store: execute it"
        if any(len(line) > CODE_WIDTH for line in cell.source.splitlines()):
            yield f"cell {number}: a line of code is longer than {CODE_WIDTH} characters"
        may_raise = "raises-exception" in cell.metadata.get("tags", [])
        for output in cell.outputs:
            text = output.get("text", "") or output.get("data", {}).get("text/plain", "")
            if output.output_type == "error" and not may_raise:
                yield f"cell {number}: stores an error ({output.ename})"
            if output.get("name") == "stderr":
                yield f"cell {number}: stores text from stderr"
            if ADDRESS.search(text):
                yield f"cell {number}: prints a memory address, which changes on every run"
