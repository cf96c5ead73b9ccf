"""The `course` command: from a script to every product, and errors without a traceback."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.main import get_command

from course_lib import cli
from course_lib.data.picture_files import write_picture
from course_lib.rng import generator_from


def course_command(monkeypatch, *arguments: str):
    """Run the command in this process; returns its exit code or message."""
    monkeypatch.setattr(sys, "argv", ["course", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code


@pytest.mark.slow
def test_execute_pages_student(course, write_chapter, monkeypatch, capsys):
    chapter = write_chapter()
    assert course_command(monkeypatch, "execute", "7") == 0
    assert chapter.notebook.exists()
    assert course_command(monkeypatch, "pages") == 0
    assert "A tiny case" in (course / "README.md").read_text()
    assert course_command(monkeypatch, "student", "--out", str(course / "out")) == 0
    assert (course / "out" / chapter.notebook.name).exists()
    assert "07_tiny_case" in capsys.readouterr().err  # the progress bar


@pytest.mark.parametrize("command", [["execute"], ["results"], ["student", "--out", "x"]])
def test_a_bad_chapter_is_named(write_chapter, monkeypatch, command):
    write_chapter()
    message = course_command(monkeypatch, *command, "nine")
    assert message == "course: There is no chapter 'nine'. The chapters are: 07_tiny_case."


def test_results_are_computed_compared_and_stored(course, write_chapter, monkeypatch, capsys):
    from course_lib.results import Result, experiment, load_results

    @experiment("07_tiny_case")
    def answer(budget: str) -> list[Result]:
        return [Result("answer", 42.0, "", 0.0, "none", 1, None)]

    write_chapter()
    monkeypatch.setenv("COURSE_BUDGET", "smoke")
    assert course_command(monkeypatch, "results", "7") == 0
    assert "new" in capsys.readouterr().out
    assert course_command(monkeypatch, "results", "7", "--store") == 0
    assert load_results("07_tiny_case")["answer"].budget == "smoke"
    assert course_command(monkeypatch, "results", "7") == 0
    assert "same" in capsys.readouterr().out


def constant(chapter: str, name: str, value: float, calls: list[str] | None = None) -> None:
    """Register an experiment that measures one number and notes that it ran."""
    from course_lib.results import Result, experiment

    def run(budget: str) -> list[Result]:
        (calls if calls is not None else []).append(name)
        if value != value:
            raise KeyboardInterrupt
        return [Result(name, value, "", 0.1, "none", 1, None)]

    run.__name__ = name
    experiment(chapter)(run)


@pytest.fixture
def two_chapters(write_chapter, monkeypatch):
    """Two chapters whose numbers are stored: a of the first, b and c of the second."""
    from course_lib.results import registry

    monkeypatch.setattr(registry, "_REGISTRY", {})
    monkeypatch.setenv("COURSE_BUDGET", "smoke")
    for name in ("07_tiny_case", "08_second"):
        write_chapter(name=name)
    constant("07_tiny_case", "a", 1.0)
    for name in ("b", "c"):
        constant("08_second", name, 2.0)
    assert course_command(monkeypatch, "results", "--all", "--store") == 0


def test_a_moved_number_sets_the_exit_code(two_chapters, monkeypatch, capsys):
    assert course_command(monkeypatch, "results", "--all") == 0
    assert "07_tiny_case: 1 same." in capsys.readouterr().out
    constant("08_second", "b", 2.05)
    assert course_command(monkeypatch, "results", "--all") == 0  # within its tolerance
    constant("08_second", "b", 2.2)
    assert course_command(monkeypatch, "results", "--all") == 1
    assert "08_second: 1 moved, 1 same." in capsys.readouterr().out
    assert course_command(monkeypatch, "results", "8") == 1
    assert course_command(monkeypatch, "results", "8", "--only", "c") == 0
    assert course_command(monkeypatch, "results", "8", "--only", "b", "--store") == 0
    assert course_command(monkeypatch, "results", "--all") == 0


def test_a_killed_command_goes_on(two_chapters, monkeypatch):
    calls: list[str] = []
    constant("07_tiny_case", "a", 1.0, calls)
    constant("08_second", "b", 2.0, calls)
    constant("08_second", "c", float("nan"), calls)  # killed here
    course_command(monkeypatch, "results", "--all")
    constant("08_second", "c", 2.0, calls)
    assert course_command(monkeypatch, "results", "8") == 0
    assert calls == ["a", "b", "c", "c"]


def test_an_experiment_that_fails_hides_no_other(two_chapters, monkeypatch, capsys):
    from course_lib.results import experiment

    @experiment("07_tiny_case")
    def a(budget: str) -> list:
        raise ValueError("no such photograph")

    assert course_command(monkeypatch, "results", "--all") == 1
    printed = capsys.readouterr()
    assert "07_tiny_case, a: FAILED, ValueError: no such photograph" in printed.out + printed.err
    assert "08_second: 2 same." in printed.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--only", "d", "--all"],
            "No experiment d in 07_tiny_case, 08_second. There are: a, b, c",
        ),
        ([], "give --all"),
        (["7", "--all"], "not both"),
    ],
)
def test_refusals_of_results(two_chapters, monkeypatch, arguments, message):
    assert message in course_command(monkeypatch, "results", *arguments)


def test_a_chapter_without_experiments_says_where_to_write_them(write_chapter, monkeypatch):
    write_chapter(name="06_quiet")
    message = course_command(monkeypatch, "results", "6")
    assert "course_lib/experiments/quiet.py" in message


def test_a_missing_tool_names_the_extra(write_chapter, monkeypatch):
    write_chapter()
    monkeypatch.delitem(sys.modules, "course_lib.book.execute", raising=False)
    monkeypatch.setitem(sys.modules, "jupytext", None)
    assert "pip install -e '.[book]'" in course_command(monkeypatch, "execute")


def test_images_are_made_shown_and_cleared(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path))
    assert course_command(monkeypatch, "data", "make", "plates", "--split", "test", "--n", "2") == 0
    assert "plates, test: 2 images" in capsys.readouterr().out
    assert course_command(monkeypatch, "data", "info") == 0
    assert "plates-v" in capsys.readouterr().out
    assert course_command(monkeypatch, "data", "clear", "plates") == 0
    assert "Removed 1 sets" in capsys.readouterr().out
    assert "unknown world 'faces'" in course_command(monkeypatch, "data", "make", "faces")


def test_fetching_reports_and_fails_in_one_line(tmp_path, monkeypatch, capsys):
    from course_lib.metrics import fetch
    from course_lib.project import CourseError

    def fetch_nothing(tell):
        tell("LPIPS. Fetching ...")
        raise CourseError("no network")

    monkeypatch.setattr(fetch, "fetch_perceptual", fetch_nothing)
    assert course_command(monkeypatch, "fetch", "perceptual") == "course: no network"
    assert capsys.readouterr().out == "LPIPS. Fetching ...\n"


@pytest.mark.slow
def test_a_photograph_is_restored(tmp_path, monkeypatch, capsys):
    photo, out = tmp_path / "photo.png", tmp_path / "out"
    write_picture(photo, torch.rand(1, 16, 24, generator=generator_from(0)))
    options = ["restore", str(photo), "--operator", "deblur", "--kernel-std", "0.5"]
    options += ["--sigma", "5", "--steps", "1", "--samples", "1", "--out", str(out)]
    assert course_command(monkeypatch, *options) == 0
    printed = capsys.readouterr()
    assert "Noise: 5.00 grey levels (as given)." in printed.out
    assert "px/s" in printed.err  # the progress bar
    assert {file.name for file in out.iterdir()} == {
        "estimate.png",
        "std.png",
        "sample_1.png",
        "summary.json",
    }
    message = course_command(monkeypatch, *options)
    assert message.startswith("course: ")
    assert "--force" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--operator", "inpaint"], "inpaint needs --mask: a picture"),
        (["--operator", "deblur"], "--kernel-std 1.5 for a Gaussian of 1.5 pixels, or --kernel "),
        (["--operator", "denoise", "--sigma", "0.02"], "write --sigma 5.1."),
        (["--operator", "denoise", "--steps", "0"], "--steps: expected 1 or more"),
        (["--operator", "denoise", "--method", "tv", "--samples", "3"], "--samples: tv has one"),
        (["--operator", "denoise", "--device", "abacus"], "--device: abacus cannot be used"),
    ],
)
def test_refusals_of_restore_name_flags(options, message, monkeypatch):
    assert message in course_command(monkeypatch, "restore", "photo.png", *options)


def test_every_option_that_restore_speaks_of_is_a_flag():
    """Whatever stands in backticks within an error or a note of course_lib/restore."""
    command = get_command(cli.app).commands["restore"]
    flags = {flag for option in command.params for flag in option.opts}
    named = set()
    for file in (Path(cli.__file__).parent / "restore").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Raise | ast.Call):
                named |= set(re.findall(r"`(\w+)", ast.unparse(node)))
    assert {"sigma", "kernel_file", "n_steps", "force", "tile", "out"} <= named
    assert {cli.with_flags(f"`{name}`") for name in named} <= flags


@pytest.mark.slow
def test_python_dash_m_is_the_same_command():
    run = subprocess.run(
        [sys.executable, "-m", "course_lib", "--help"], capture_output=True, text=True
    )
    assert run.returncode == 0
    assert "student" in run.stdout
