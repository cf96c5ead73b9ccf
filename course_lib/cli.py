"""The `course` command: a thin door to `course_lib.book` and `course_lib.results`."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from course_lib.book.chapters import find_chapter, find_chapters
from course_lib.project import CourseError
from course_lib.results import budget, compare, compute, experiments, load_results
from course_lib.results.contract import results_path, store_results
from course_lib.results.registry import Change

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)
Names = Annotated[
    list[str] | None, typer.Argument(help="As in 3, 03, tychonov_wiener; all by default.")
]


@app.command()
def execute(chapters: Names = None) -> None:
    """Run chapters from their scripts and store the outputs, unless a cell fails."""
    from course_lib.book.execute import execute as run

    for chapter in find_chapters(chapters or []):
        with tqdm(desc=chapter.name, unit=" cells") as bar:
            cost = run(chapter, tick=bar.update)
        typer.echo(
            f"{chapter.name}: {cost.cpu_seconds:.1f} s CPU, {cost.peak_memory_mb:.0f} MB, stored."
        )


@app.command()
def results(
    chapter: str,
    store: Annotated[bool, typer.Option(help="Write book/results/<chapter>.json.")] = False,
) -> None:
    """Recompute a chapter's numbers at COURSE_BUDGET (default full) and show what moved."""
    name = find_chapter(chapter).name
    chosen, amount = experiments(name), budget(default="full")
    if not chosen:
        raise CourseError(f"No experiments for {name}: write course_lib/experiments/{name[3:]}.py.")
    measured = []
    for experiment in tqdm(chosen, desc=f"{name} ({amount})", unit=" experiments"):
        measured += compute(experiment, amount)
    stored = list(load_results(name).values()) if results_path(name).exists() else []
    _show(name, compare(stored, measured))
    if store:
        typer.echo(f"Stored in {store_results(name, measured)}")


@app.command()
def student(
    out: Annotated[Path, typer.Option(help="Folder for the edition without solutions.")],
    chapters: Names = None,
) -> None:
    """Write the edition without solutions, if running it raises only NotImplementedError."""
    from course_lib.book.student import write_student_edition

    for chapter in find_chapters(chapters or []):
        with tqdm(desc=chapter.name, unit=" cells") as bar:
            write_student_edition(chapter, out, tick=bar.update)
    typer.echo(f"Written to {out}")


@app.command()
def pages() -> None:
    """Regenerate README's table of chapters and the book's table of numbers."""
    from course_lib.book.pages import write_pages

    for page in tqdm(write_pages(), desc="pages", unit=" pages"):
        typer.echo(f"Updated {page}")


def _show(title: str, changes: list[Change]) -> None:
    table = Table("name", "stored", "new", "tolerance", "unit", "status", title=title)
    for status, old, new in changes:
        known = new or old
        values = [f"{r.value:.6g}" if r else "–" for r in (old, new)]
        tolerance = "–" if known.tolerance is None else f"{known.tolerance:g}"
        style = "bold red" if status in ("moved", "gone") else None
        table.add_row(known.name, *values, tolerance, known.unit, status, style=style)
    Console().print(table)


def main() -> None:
    """Run the command; what the reader can put right is said without a traceback."""
    try:
        app()
    except CourseError as error:
        sys.exit(f"course: {error}")
    except ModuleNotFoundError as error:
        if error.name not in ("jupytext", "nbformat", "nbclient", "myst_nb"):
            raise
        sys.exit(f"course: {error.name} is missing. Try: pip install -e '.[book]'")
