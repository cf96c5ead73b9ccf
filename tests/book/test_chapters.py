"""Chapters are found by any of their names and describe themselves."""

import pytest

from course_lib.book.chapters import find_chapter, find_chapters
from course_lib.project import CourseError


@pytest.mark.parametrize("name", ["7", "07", "tiny_case", "07_tiny_case"])
def test_a_chapter_has_four_names(write_chapter, name):
    chapter = write_chapter()
    assert find_chapter(name) == chapter


@pytest.mark.parametrize("name", ["8", "tiny", "", "../07_tiny_case", "07_tiny_case.py"])
def test_a_bad_name_lists_the_chapters(write_chapter, name):
    write_chapter()
    with pytest.raises(CourseError, match=r"chapters are: 07_tiny_case\."):
        find_chapter(name)


def test_no_chapter_at_all_says_where_it_looked(course):
    with pytest.raises(CourseError, match=r"none in .*notebooks"):
        find_chapter("1")


def test_no_name_means_all(write_chapter):
    both = [write_chapter(name="01_one"), write_chapter(name="02_two")]
    assert find_chapters([]) == both
    assert find_chapters(["2"]) == both[1:]


@pytest.mark.parametrize(
    ("opening", "title", "shows"),
    [
        ("# # 7. Case\n#\n# **You will see** why\n# it runs. More.", "Case", "why it runs"),
        ("# # Case — *You will see* why. *Needs* a CPU.", "Case", "why"),
        ("# # 7. Case\n#\n# You will see: all of it\n#\n# Then.", "Case", "all of it"),
        ("# no heading", "Tiny case", ""),
    ],
)
def test_title_and_promise_come_from_the_opening(write_chapter, opening, title, shows):
    chapter = write_chapter(f"# %% [markdown]\n{opening}\n")
    assert (chapter.title, chapter.shows) == (title, shows)
