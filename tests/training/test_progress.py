"""The log of a run: what each line says, by its figures and a clock that is known."""

import json
import time

import pytest

from course_lib.training import Settings
from course_lib.training.progress import Progress

SETTINGS = Settings(steps=8, batch_size=6, learning_rate=0.1, warm_up=2, log_every=3)
FIGURES = {step: {"loss": step**2, "mae": 10.0 / step} for step in range(1, 9)}


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand, seconds."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def follow(told, clock, steps, skipped=()):
    """Steps of half a second; those that are skipped have no figures."""
    for step in steps:
        clock[0] += 0.5
        told.add(step, None if step in skipped else FIGURES[step], sum(s <= step for s in skipped))


def line(step, window, *, skipped=0, rate=12.0):
    """What is expected: means over the window; 6 samples in half a second are 12 a second."""
    means = {name: sum(FIGURES[k][name] for k in window) / len(window) for name in ("loss", "mae")}
    return {
        "step": step,
        **means,
        "learning_rate": SETTINGS.learning_rate_at(step - 1),
        "samples_per_second": rate,
        "skipped": skipped,
    }


def start(folder, step=0, saved=None, *, write=True):
    return Progress(folder / "log.jsonl", SETTINGS, step, saved, write=write, show=False)


def read(folder):
    return [json.loads(text) for text in (folder / "log.jsonl").read_text().splitlines()]


def test_lines_are_means_over_their_steps(tmp_path, clock):
    """The last window is shorter; a skipped step counts in the time, not in the means."""
    with start(tmp_path) as told:
        follow(told, clock, range(1, 9), skipped=(2, 7))
    expected = [
        line(3, (1, 3), skipped=1),
        line(6, (4, 5, 6), skipped=1),
        line(8, (8,), skipped=2),
    ]
    assert told.history == expected == read(tmp_path)
    assert told.seconds == 4.0


def test_a_run_that_goes_on_says_the_same(tmp_path, clock):
    """Its window, its lines and its seconds go on; the pause counts nowhere."""
    with start(tmp_path) as told:
        follow(told, clock, range(1, 6))
        saved = json.dumps(told.state())
        follow(told, clock, range(6, 8))  # is lost
    clock[0] += 1000
    with start(tmp_path, 5, json.loads(saved)) as again:
        follow(again, clock, range(6, 9))
    # The steps 4 and 5 of the second window were timed before.
    expected = [line(3, (1, 2, 3)), line(6, (4, 5, 6)), line(8, (7, 8))]
    assert again.history == expected == read(tmp_path)
    assert again.seconds == 4.0


def test_all_steps_skipped_leave_no_means(tmp_path, clock):
    with start(tmp_path, write=False) as told:
        follow(told, clock, (1, 2, 3), skipped=(1, 2, 3))
    assert set(told.history[0]) == {"step", "learning_rate", "samples_per_second", "skipped"}
    assert not (tmp_path / "log.jsonl").exists()
