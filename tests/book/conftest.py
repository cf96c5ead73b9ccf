"""A course of one tiny chapter, in a temporary folder."""

from pathlib import Path
from shutil import copyfile

import pytest

from course_lib.book.chapters import Chapter

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


@pytest.fixture
def course(tmp_path, monkeypatch):
    """The folder of a course with README markers and no chapter, named by COURSE_ROOT."""
    (tmp_path / "book" / "results").mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "README.md").write_text(
        "# Course\n<!-- chapters:start -->\n<!-- chapters:end -->\nEnd\n"
    )
    copyfile(ROOT / "notebooks" / "jupytext.toml", tmp_path / "notebooks" / "jupytext.toml")
    monkeypatch.setenv("COURSE_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def write_chapter(course):
    """Write a script as a chapter of the temporary course."""

    def write(script: str = TINY, name: str = "07_tiny_case") -> Chapter:
        source = course / "notebooks" / f"{name}.py"
        source.write_text(script, encoding="utf-8")
        return Chapter(source)

    return write
