"""The drawings that are stored are those that the package draws."""

import re

from course_lib.book.drawings import DRAWINGS, drawing_path, write_drawings


def shapes(svg: str) -> list[int]:
    """How many paths and letters a drawing has: its coordinates depend on the fonts at hand."""
    return [len(re.findall(rf"<{tag}\b", svg)) for tag in ("path", "use", "g")]


def test_stored_drawings_are_up_to_date(course, monkeypatch):
    (course / "book" / "_static").mkdir()
    drawn = {path.stem: path.read_text() for path in write_drawings()}
    monkeypatch.delenv("COURSE_ROOT")
    assert sorted(drawn) == sorted(DRAWINGS)
    for name, svg in drawn.items():
        assert shapes(svg) == shapes(drawing_path(name).read_text())
