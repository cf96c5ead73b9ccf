"""The page "From source to book", `book/sources.md`, written from the rows of the sources."""

import re
from collections import Counter
from collections.abc import Iterable

from course_lib.book.chapters import Chapter, chapters
from course_lib.book.markdown import table_row
from course_lib.book.sources import TO_COME, Row, Source, load_sources, stored_number

INTRO = """# From source to book

The chapters follow five texts. This page goes through each of them and says of its methods,
figures, tables, theorems and tasks where they stand in the book, which function computes them,
which test checks them, and which stored number came out. {counts}

Functions are named below `course_lib`; `python -m pytest -k NAME` runs a test; the data behind a
number and the command that computes it again are on the page of [stored numbers](results.md). This
page is generated from `book/sources/`. A test fails if a row names a place, a function, a test or a
number that is not there.
"""
HEADER = """| Item | In the source | In the book | Function and test | Stored number |
| --- | --- | --- | --- | --- |"""
TO_COME_INTRO = """## To come

These {n} items belong to chapters that are not written yet.

| Item | In the source | Chapter |
| --- | --- | --- |"""
LEFT_OUT_INTRO = """## Left out so far

These {n} items belong to chapters that are written, and are not in them.

| Item | In the source | What is missing |
| --- | --- | --- |"""
ROLES = {
    "eq": "eq",
    "fig": "numref",
    "thm": "prf:ref",
    "lem": "prf:ref",
    "prop": "prf:ref",
    "def": "prf:ref",
}


def sources_page() -> str:
    """The whole page."""
    sources = load_sources()
    rows = [row for source in sources for row in source.rows]
    coming = [row for row in rows if row.to_come]
    missing = [row for row in rows if row.left_out]
    parts = [INTRO.format(counts=counts(rows)), *map(_section, sources)]
    if missing:
        parts.append(_wide(LEFT_OUT_INTRO.format(n=len(missing)), map(_left_out, missing)))
    if coming:
        parts.append(_wide(TO_COME_INTRO.format(n=len(coming)), map(_to_come, coming)))
    return "\n".join(parts)


def counts(rows: list[Row]) -> str:
    """How many items there are, and how many of them are where, in words."""
    kinds = Counter("to come" if row.to_come else "left" if row.left_out else "in" for row in rows)
    with_number = sum(bool(row.number) for row in rows)
    with_command = sum(bool(row.command) for row in rows)
    return (
        f"Of {len(rows)} items {kinds['in']} are in the book, {with_number} of them with a stored "
        f"number. {with_command} have a command in its place: their data or weights cannot come "
        f"with the course, and their tests run on a tiny set or file of the same format. "
        f"{kinds['left']} items are left out so far, and {kinds['to come']} are to come."
    )


def _section(source: Source) -> str:
    rows = [row for row in source.rows if row.at]
    return _wide(f"## {source.title}\n\n{source.about}\n\n{HEADER}", map(_row, rows))


def _wide(head: str, rows: Iterable[str]) -> str:
    """A heading, and a table whose long names may break."""
    intro, _, table = head.rpartition("\n\n")
    return "\n".join([intro, "", ":::{container} sources", table, *rows, ":::", ""])


def _row(row: Row) -> str:
    return table_row(
        f"{row.item} ({row.kind})",
        row.where,
        _place(row),
        f"`{row.function}`, `{row.test.partition('::')[2]}`",
        _number(row),
    )


def _left_out(row: Row) -> str:
    slug, _, reason = row.left_out.partition(": ")
    return table_row(f"{row.item} ({row.kind})", row.where, f"{_link(_chapter(slug))}: {reason}")


def _to_come(row: Row) -> str:
    return table_row(
        f"{row.item} ({row.kind})", row.where, f"{row.to_come}, {TO_COME[row.to_come]}"
    )


def _place(row: Row) -> str:
    if row.chapter == "errata":
        return f"[errata](errata.md), {row.anchor}"
    chapter = _chapter(row.chapter)
    role = ROLES.get(row.anchor.partition("-")[0])
    if role and re.fullmatch(r"[\w-]+", row.anchor):
        return f"{_link(chapter)}, {{{role}}}`{row.anchor}`"
    return f"{_link(chapter)}, “{row.anchor}”"


def _link(chapter: Chapter) -> str:
    return f"[chapter {chapter.number}](../notebooks/{chapter.notebook.name})"


def _number(row: Row) -> str:
    if row.command:
        return f"`{row.command}`"
    stored = stored_number(row)
    return "–" if stored is None else f"`{stored.name}` = {stored.value:.4g} {stored.unit}".rstrip()


def _chapter(slug: str) -> Chapter:
    return next(chapter for chapter in chapters() if chapter.slug == slug)
