"""README's two commands exist and make.py answers them."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from course_lib.project import course_root

ROOT = course_root()


@pytest.fixture
def make(monkeypatch):
    spec = importlib.util.spec_from_file_location("make", ROOT / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_has_exactly_two_setup_commands():
    lines = (ROOT / "README.md").read_text().splitlines()
    commands = [line for line in lines if line.startswith("python3 ")]
    assert commands == ["python3 make.py book", "python3 make.py test"]


def test_a_wrong_task_prints_the_usage(make, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["make.py", "cake"])
    with pytest.raises(SystemExit, match=r"python3 make\.py book"):
        make.main()


def test_an_old_python_is_refused(make, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 0, "final", 0))
    with pytest.raises(SystemExit, match=r"3\.11, 3\.12 or 3\.13; this is 3\.10"):
        make.main()


def test_this_environment_is_used_when_there_is_one(make, monkeypatch):
    monkeypatch.setattr(sys, "prefix", "/somewhere/else")
    assert make.environment() == sys.executable


def test_a_python_without_venv_is_told_what_to_install(make, monkeypatch, tmp_path):
    monkeypatch.setattr(make, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="apt install python3"):
        make.environment()


def test_options_reach_pytest(make, monkeypatch):
    commands = []
    monkeypatch.setattr(make, "run", lambda *command: commands.append(command))
    monkeypatch.setattr(make, "attempt", lambda *command: commands.append(command))
    monkeypatch.setattr(sys, "argv", ["make.py", "test", "-m", "not notebook"])
    make.main()
    assert commands[0][-2:] == ("-e", ".[test]")
    assert commands[1][1:] == ("-m", "course_lib", "fetch", "perceptual")
    assert commands[2][1:] == ("-m", "pytest", "-m", "not notebook")


def test_tests_go_on_without_what_could_not_be_fetched(make, capfd):
    make.attempt(sys.executable, "-c", "raise SystemExit('course: no network')")
    printed = capfd.readouterr()
    assert "The tests that need it are skipped." in printed.out
    assert "course: no network" in printed.err


@pytest.mark.skipif(sys.platform == "win32", reason="a bash script")
def test_the_nightly_run_asks_for_the_photographs(tmp_path):
    """Without them it says what it needs, before any work."""
    for arguments in ([], [str(tmp_path)]):
        run = subprocess.run([ROOT / ".ci" / "nightly", *arguments], capture_output=True, text=True)
        assert run.returncode == 2
        assert "bsds500" in run.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a bash script")
def test_the_nightly_run_reports_and_fails_with_the_command(tmp_path):
    """The command is given the folder; its words stay in a file, its exit code is kept."""
    (tmp_path / "bsds500").mkdir()
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "nightly", tmp_path / ".ci")
    (tmp_path / "course_lib").mkdir()
    words = "import os, sys\nprint(*sys.argv[1:], os.environ['COURSE_BUDGET'])\nsys.exit(1)\n"
    (tmp_path / "course_lib" / "__main__.py").write_text(words)
    python = {
        **os.environ,
        "PYTHONPATH": "",
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    run = subprocess.run(
        [tmp_path / ".ci" / "nightly", str(tmp_path)], env=python, capture_output=True, text=True
    )
    assert run.returncode == 1, run.stderr
    report = (tmp_path / "_build" / "nightly.txt").read_text()
    assert report == run.stdout == f"results --all --root {tmp_path} full\n"
