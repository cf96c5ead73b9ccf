"""Which item of the five sources stands where in the book: `book/sources/*.toml`, and its checks.

A row names the item, the place in the source, the chapter, a function, a test and a stored number
(or the command that computes it where its data cannot come with the course). Items of chapters
that are not written yet are "to come"; what a written chapter lacks is "left out", with a reason.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from course_lib.book.chapters import Chapter, chapters
from course_lib.project import CourseError, course_root
from course_lib.results import Result, Results, load_results, results_path

TO_COME = {
    9: "Learning the inverse",
    10: "Image to image",
    15: "Restoring with a diffusion model",
    16: "Which prior, when",
}
KINDS = ("experiment", "figure", "formula", "method", "metric", "model", "table", "task", "theorem")
LABEL = re.compile(r":(?:label|name): ([\w-]+)|\"name\": \"([\w-]+)\"|\((\w+-[\w-]+)\)=?$", re.M)
MEASURED = ("experiment", "table")  # kinds that need a stored number or a command


@dataclass(frozen=True)
class Row:
    """One item of a source.

    Args:
        item, where, kind: what it is, its place in the source, and one of KINDS.
        at: "slug#anchor", a chapter and a label or a heading of it; or "errata#E1".
        function: dotted name below course_lib.
        test: "file::function", below tests/.
        number: name of a stored number of that chapter, or "file:name".
        command: what computes it once the data are there.
        to_come: number of a chapter that is not written yet.
        left_out: "slug: reason", what a written chapter lacks.
    """

    item: str
    where: str
    kind: str
    at: str = ""
    function: str = ""
    test: str = ""
    number: str = ""
    command: str = ""
    to_come: int = 0
    left_out: str = ""

    @property
    def chapter(self) -> str:
        """As in "gradient_descent"; "errata" is a page."""
        return self.at.partition("#")[0]

    @property
    def anchor(self) -> str:
        """As in "thm-rates", or a heading."""
        return self.at.partition("#")[2]


@dataclass(frozen=True)
class Source:
    """One of the five sources, with its rows in the order of the file."""

    title: str
    about: str
    rows: list[Row]


def load_sources() -> list[Source]:
    """The sources, in the order of their files.

    Raises:
        CourseError: a row with a key that does not exist, or without one that it needs.
    """
    return [_read(path) for path in sorted((course_root() / "book" / "sources").glob("*.toml"))]


def row_problems(row: Row) -> list[str]:
    """What is wrong with a row, in words; empty if the book bears it out."""
    found = [] if row.kind in KINDS else [f"kind {row.kind!r} is none of {', '.join(KINDS)}"]
    if row.to_come or row.left_out:
        found += _problems_of_a_gap(row)
    else:
        found += [
            *_lacking(row),
            *_problems_of_the_place(row),
            *_problems_of_the_function(row.function),
            *_problems_of_the_test(row.test),
            *_problems_of_the_number(row),
        ]
    return [f"{row.item}: {problem}" for problem in found]


def stored_number(row: Row) -> Result | None:
    """The stored number of a row."""
    if not row.number:
        return None
    file, _, name = row.number.rpartition(":")
    return _results(results_path(file or _chapter(row.chapter).name))[name]


def _read(path: Path) -> Source:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    rows = [_row(entry, path.name) for entry in document["row"]]
    return Source(document["title"], document["about"], rows)


def _row(entry: dict[str, Any], file: str) -> Row:
    known, needed = {field.name for field in fields(Row)}, {"item", "where", "kind"}
    if entry.keys() - known or needed - entry.keys():
        raise CourseError(
            f"{file}, {entry.get('item', entry)}: unknown {sorted(entry.keys() - known)}, "
            f"missing {sorted(needed - entry.keys())}. A row has {', '.join(sorted(known))}."
        )
    return Row(**entry)


def _problems_of_a_gap(row: Row) -> Iterator[str]:
    if row.at or row.function or row.test or row.number or row.command:
        yield "is to come or left out, and names a place in the book all the same"
    if row.to_come and row.left_out:
        yield "cannot be both to come and left out"
    if row.to_come and row.to_come not in TO_COME:
        yield f"is to come in chapter {row.to_come}, expected one of {sorted(TO_COME)}"
    if row.to_come in {chapter.number for chapter in chapters()}:
        yield f"is to come, but chapter {row.to_come} is written: say where it is"
    slug, _, reason = row.left_out.partition(": ")
    if row.left_out and (not reason or slug not in _slugs()):
        yield 'is left out without "chapter: reason"'


def _lacking(row: Row) -> Iterator[str]:
    for key in ("at", "function", "test"):
        if not getattr(row, key):
            yield f"has no {key}"
    if row.kind in MEASURED and not (row.number or row.command):
        yield f"is a {row.kind} and has neither a stored number nor a command"
    if row.number and row.command:
        yield "has a stored number and a command: a command is for what is not stored"


def _problems_of_the_place(row: Row) -> Iterator[str]:
    if not row.at:
        return
    if row.chapter != "errata" and row.chapter not in _slugs():
        yield f"there is no chapter {row.chapter!r}; the chapters are {', '.join(_slugs())}"
    elif row.anchor not in anchors(row.chapter):
        yield f"{row.chapter} has no label or heading {row.anchor!r}"


def _problems_of_the_function(name: str) -> Iterator[str]:
    try:
        if name and isinstance(resolve(f"course_lib.{name}"), ModuleType):
            yield f"course_lib.{name} is a module, not a function or a class"
    except (ImportError, AttributeError) as error:
        yield f"course_lib.{name} is not there ({error})"


def _problems_of_the_test(node: str) -> Iterator[str]:
    if node and node.partition("::")[2] not in _tests_of(node.partition("::")[0]):
        yield f"there is no test tests/{node}"


def _problems_of_the_number(row: Row) -> Iterator[str]:
    try:
        stored_number(row)
    except (CourseError, KeyError) as error:
        yield f"number {row.number!r} is not stored ({error})"


def resolve(name: str) -> Any:
    """An object by its dotted name; one that shares its name with a module of its package wins.

    Raises:
        ImportError, AttributeError: there is none of this name.
    """
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:end])
        try:
            found = import_module(module)
        except ModuleNotFoundError as error:
            if error.name and not module.startswith(error.name):
                raise  # the module is there, and needs one that is not
            continue
        for attribute in parts[end:]:
            found = getattr(found, attribute)
        return found
    raise ImportError(f"no module {parts[0]}")


def anchors(slug: str) -> frozenset[str]:
    """Labels and headings of a chapter; of the page of errata, its numbers."""
    is_page = slug == "errata"
    return _anchors(course_root() / "book" / "errata.md" if is_page else _chapter(slug).source)


@cache
def _anchors(file: Path) -> frozenset[str]:
    text = file.read_text(encoding="utf-8")
    if file.stem == "errata":
        return frozenset(re.findall(r"^## (\w+)\. ", text, re.MULTILINE))
    labels = LABEL.findall(text)
    headings = re.findall(r"^# ##+ (.+?)\s*$", text, re.MULTILINE)
    return frozenset([label for group in labels for label in group if label] + headings)


@cache
def _tests_of(file: str) -> frozenset[str]:
    path = Path(__file__).parents[2] / "tests" / file
    if not path.name.startswith("test_") or not path.exists():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    for node in tree.body:  # `test_a, test_b = judged(...)`
        targets = node.targets if isinstance(node, ast.Assign) else []
        named += [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
    return frozenset(name for name in named if name.startswith("test_"))


@cache
def _results(path: Path) -> Results:
    return load_results(path.stem)


def _chapter(slug: str) -> Chapter:
    found = [chapter for chapter in chapters() if chapter.slug == slug]
    if not found:
        raise CourseError(f"there is no chapter {slug!r}")
    return found[0]


def _slugs() -> list[str]:
    return [chapter.slug for chapter in chapters()]
