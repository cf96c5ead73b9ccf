"""A student's way: run all, come back to an exercise, fill it in, run its check."""

import contextlib
import io

import jupytext
import pytest

from course_lib.book.chapters import chapters


@pytest.mark.notebook
@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.name)
def test_answers_pass_after_the_whole_chapter_has_run(chapter, monkeypatch):
    """Variables that later cells reuse must not break an earlier exercise."""
    monkeypatch.chdir(chapter.source.parent)
    cells = [c for c in jupytext.read(chapter.source).cells if c.cell_type == "code"]
    names: dict = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in cells:
            exec(compile(cell.source, chapter.name, "exec"), names)
    answers = [c for c in cells if "solution" in c.metadata.get("tags", [])]
    checks = [c for c in cells if "\ncheck_" in f"\n{c.source}"]
    assert len(answers) >= len(checks) >= 3
    for check in checks:
        for answer in answers:
            if "### BEGIN" in answer.source:
                exec(compile(answer.source, chapter.name, "exec"), names)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(check.source, chapter.name, "exec"), names)
        assert printed.getvalue().startswith("✓"), printed.getvalue()
