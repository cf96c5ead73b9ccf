"""Every item of the five sources is in the book, or said not to be, and each claim resolves."""

import re
from dataclasses import replace

import pytest

from course_lib.book.sources import Row, load_sources, resolve, row_problems, stored_number
from course_lib.book.sources_page import counts, sources_page
from course_lib.project import CourseError, course_root

SOURCES = load_sources()
ROWS = [row for source in SOURCES for row in source.rows]
LEFT_OUT = 15  # items that written chapters lack: this number only shrinks
LANDED = Row(
    "Descent lemma",
    "gradient descent",
    "theorem",
    at="gradient_descent#lem-descent",
    function="solvers.gradient_descent",
    test="solvers/test_gradient_descent.py::test_descent_lemma",
    number="02_gradient_descent:steps_exact",
)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.title[:30])
def test_every_row_resolves(source):
    assert [problem for row in source.rows for problem in row_problems(row)] == []


def test_there_are_five_sources_and_no_item_twice():
    assert len(SOURCES) == 5
    for source in SOURCES:
        items = [row.item for row in source.rows]
        assert len(set(items)) == len(items)


def test_what_is_left_out_only_shrinks():
    assert sum(bool(row.left_out) for row in ROWS) <= LEFT_OUT


def test_a_row_with_nothing_fails():
    assert row_problems(LANDED) == []
    found = row_problems(Row("Wavelets", "a slide", "table"))
    assert found == [
        "Wavelets: has no at",
        "Wavelets: has no function",
        "Wavelets: has no test",
        "Wavelets: is a table and has neither a stored number nor a command",
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": "idea"}, "kind 'idea' is none of"),
        ({"at": "gradient_descent#lem-ascent"}, "has no label or heading 'lem-ascent'"),
        ({"at": "descent#lem-descent"}, "there is no chapter 'descent'"),
        ({"at": "errata#E99"}, "errata has no label or heading 'E99'"),
        ({"function": "solvers.ascent"}, "course_lib.solvers.ascent is not there"),
        ({"function": "solver.descent"}, "course_lib.solver.descent is not there"),
        ({"function": "solvers.iterate"}, "is a module"),
        ({"test": "solvers/test_gradient_descent.py::test_ascent"}, "there is no test"),
        ({"test": "helpers.py::judged"}, "there is no test"),
        ({"number": "steps_exactly"}, "number 'steps_exactly' is not stored"),
        ({"number": "99_nothing:steps"}, "number '99_nothing:steps' is not stored"),
        ({"command": "course train"}, "has a stored number and a command"),
        ({"to_come": 9}, "is to come or left out, and names a place in the book all the same"),
    ],
    ids=str,
)
def test_a_claim_that_the_book_does_not_bear_out_is_refused(change, problem):
    (found,) = row_problems(replace(LANDED, **change))
    assert problem in found


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"to_come": 8}, "is to come, but chapter 8 is written"),
        ({"to_come": 17}, "is to come in chapter 17, expected one of"),
        ({"left_out": "not written"}, 'is left out without "chapter: reason"'),
        ({"left_out": "descent: not written"}, 'is left out without "chapter: reason"'),
        ({"to_come": 9, "left_out": "smoothed_tv: why"}, "cannot be both"),
    ],
    ids=str,
)
def test_a_gap_says_where_it_belongs(change, problem):
    found = row_problems(replace(Row("Wavelets", "a slide", "task"), **change))
    assert any(problem in line for line in found)


def test_a_name_of_a_function_and_of_its_module_is_the_function():
    assert callable(resolve("course_lib.solvers.tychonov"))
    assert callable(resolve("course_lib.inference.VBLE.fit"))


def test_numbers_are_those_of_the_chapter_or_of_a_named_file():
    assert stored_number(LANDED).name == "steps_exact"
    assert stored_number(replace(LANDED, number="steps_exact")).name == "steps_exact"
    elsewhere = replace(LANDED, number="04_smoothed_tv:deblur_tv_mean")
    assert stored_number(elsewhere).unit == "dB"
    assert stored_number(replace(LANDED, number="")) is None


def test_a_key_that_does_not_exist_is_refused(course):
    folder = course / "book" / "sources"
    folder.mkdir()
    text = 'title = "T"\nabout = "A"\n[[row]]\nitem = "x"\nwhere = "y"\nkinds = "task"\n'
    (folder / "1_x.toml").write_text(text)
    with pytest.raises(CourseError, match=r"1_x.toml, x: unknown \['kinds'\], missing \['kind'\]"):
        load_sources()


def test_the_page_has_a_row_for_every_item_and_counts_them():
    page = sources_page()
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    headings = 2 * (len(SOURCES) + 2)  # of each table, with its rule
    assert len(lines) == len(ROWS) + headings
    coming = sum(bool(row.to_come) for row in ROWS)
    assert page.split("## To come")[1].count("\n| ") == coming + 2
    assert f"Of {len(ROWS)} items" in page
    assert f"and {coming} are to come." in counts(ROWS)


def test_the_stored_page_is_up_to_date():
    """But for the values, which `course pages` brings up to date with the results."""
    stored = (course_root() / "book" / "sources.md").read_text(encoding="utf-8")
    assert without_values(stored) == without_values(sources_page()), "run `course pages`"


def without_values(page):
    return re.sub(r"` = [^|]+\|", "` |", page)
