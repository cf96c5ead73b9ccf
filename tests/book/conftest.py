"""A course of one tiny chapter, in a temporary folder."""

from functools import partial
from pathlib import Path
from shutil import copyfile

import pytest

from course_lib.book.chapters import Chapter
from course_lib.book.execute import execute

ROOT = Path(__file__).parents[2]
TINY = """\
# %% [markdown]
# # 7. A tiny case
#
# **You will see** how the runner
# runs. **You need** nothing.

# %%
x = 1 + 1
x

# %% tags=["nbval-check-output"]
print(x)
print("twice")
"""


def found_course(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course with README markers and no chapter, named by COURSE_ROOT."""
    (folder / "book" / "results").mkdir(parents=True)
    (folder / "notebooks").mkdir()
    (folder / "README.md").write_text(
        "# Course\n<!-- numbers:start --><!-- numbers:end -->\n"
        "<!-- chapters:start -->\n<!-- chapters:end -->\nEnd\n"
    )
    copyfile(ROOT / "notebooks" / "jupytext.toml", folder / "notebooks" / "jupytext.toml")
    monkeypatch.setenv("COURSE_ROOT", str(folder))
    return folder


def chapter_of(course: Path, script: str = TINY, name: str = "07_tiny_case") -> Chapter:
    """A script as a chapter of a course."""
    source = course / "notebooks" / f"{name}.py"
    source.write_text(script, encoding="utf-8")
    return Chapter(source)


@pytest.fixture
def course(tmp_path, monkeypatch):
    """The folder of a temporary course without chapters."""
    return found_course(tmp_path, monkeypatch)


@pytest.fixture
def write_chapter(course):
    """Write a script as a chapter of the temporary course."""
    return partial(chapter_of, course)


@pytest.fixture(scope="module")
def tiny_notebook(tmp_path_factory) -> bytes:
    """The tiny chapter as `course execute` stores it: run once, to be copied."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        chapter = chapter_of(found_course(tmp_path_factory.mktemp("course"), monkeypatch))
        execute(chapter)
    return chapter.notebook.read_bytes()
