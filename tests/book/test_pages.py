"""Generated pages say what is stored, and a second run changes nothing."""

import pytest

from course_lib.book.budgets import Budget, store_budget
from course_lib.book.pages import CHAPTERS, insert, models_page, write_pages
from course_lib.models import available, read_card
from course_lib.project import CourseError
from course_lib.results import Result, store_results

NUMBER = Result(
    "psnr", 28.456789, "dB", 0.05, "a | b", 3, 1, "e", "full", "course results 07", "pc"
)


def test_pages_are_regenerated_once(course, write_chapter):
    write_chapter()
    store_budget("07_tiny_case", Budget(12.3, 10.0, 345.0, "pc"))
    store_results("07_tiny_case", [NUMBER])
    store_results("benchmarks", [Result(**(vars(NUMBER) | {"tolerance": None, "experiment": ""}))])
    readme, page = course / "README.md", course / "book" / "results.md"

    written = [course / "book" / name for name in ("models.md", "sources.md")]
    assert write_pages() == [readme, page, *written]
    assert write_pages() == []
    table_row = (
        "| 7 | [A tiny case](notebooks/07_tiny_case.ipynb) | how the runner runs | 12 | 345 |"
    )
    assert table_row in readme.read_text()
    assert readme.read_text().endswith("<!-- chapters:end -->\nEnd\n")
    sentence = "2 numbers are stored. "
    assert f"<!-- numbers:start -->{sentence}" in readme.read_text()
    text = page.read_text()
    assert sentence in text
    assert "`course results 07`, experiment `e`, on pc:" in text
    assert "| `psnr` | 28.4568 | dB | ±0.05 | a \\| b | 3 | 1 |" in text
    assert text.index("## A tiny case") < text.index("## Benchmarks")


def test_every_model_has_its_section():
    page = models_page()
    for name in available():
        card = read_card(name)
        assert f"## `{name}`\n\n{card['description']}" in page
        assert f"```bash\n{card['command']}\n```" in page


def test_a_readme_without_markers_is_refused():
    with pytest.raises(CourseError, match="chapters:start"):
        insert("# Course\n", CHAPTERS, "")
