"""The folder of the course does not depend on where one stands; files are written whole."""

import subprocess
import sys
from pathlib import Path

import pytest

from course_lib.project import CourseError, course_root, write_atomically

HERE = Path(__file__).resolve().parents[1]


def test_the_working_directory_plays_no_part(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_ROOT", raising=False)
    (tmp_path / "book" / "results").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert course_root() == HERE


def test_the_environment_names_another_course(tmp_path, monkeypatch):
    (tmp_path / "book" / "results").mkdir(parents=True)
    monkeypatch.setenv("COURSE_ROOT", str(tmp_path))
    assert course_root() == tmp_path.resolve()
    monkeypatch.setenv("COURSE_ROOT", str(tmp_path / "book"))
    with pytest.raises(CourseError, match="book is no course: it has no folder book/results"):
        course_root()


@pytest.mark.slow
def test_an_installed_package_says_what_it_lacks(tmp_path):
    """A copy of the package without its checkout starts, and names COURSE_ROOT when it needs it."""
    (tmp_path / "course_lib").symlink_to(HERE / "course_lib")
    code = (
        "import course_lib.project as p, pathlib; p.__file__ = 'elsewhere/course_lib/project.py';"
        "from course_lib.results import load_results; load_results('03_tychonov_wiener')"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "COURSE_ROOT" in run.stderr
    assert "CourseError" in run.stderr


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_atomically(path, "first\n")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_bytes() == b"first\n"
