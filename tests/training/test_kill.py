"""A run that is killed, whenever and however often, ends as one that was not.

Run as a script, this file is the process whose children are trained and killed:
`python test_kill.py FOLDER SEED`.
"""

import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from course_lib.rng import normal_like
from course_lib.training import Objective, Settings, saved_run, train

SETTINGS = Settings(
    steps=200,
    batch_size=8,
    shards=2,
    warm_up=20,
    precision="float32",
    log_every=7,
    save_every=4,
    sheet_every=50,
)
PAUSE = 0.004  # seconds a shard: the killed run needs at least 1.6 s
LONGEST = 0.25  # seconds until a kill, so that three do not reach the end


class Denoising(Objective):
    """A small network whose noise level follows its own error, as a buffer."""

    def __init__(self, pause=0.0):
        torch.manual_seed(0)
        self.pause = pause
        self.model = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.SiLU(), nn.Conv2d(4, 1, 3)
        )
        self.model.register_buffer("level", torch.tensor(0.5))

    def loss(self, player, batch, *, done, generator):
        time.sleep(self.pause)
        noisy = batch + self.model.level * normal_like(batch, generator)
        error = self.model(noisy) - batch[..., 1:-1, 1:-1]
        loss = error.square().mean() * (math.nan if 0.2 <= done < 0.23 else 1)  # 6 are skipped
        return loss, {"mae": error.abs().mean()}

    def after_step(self, figures):
        self.model.level.lerp_(torch.tensor(figures["mae"]), 0.1)

    def preview(self, model):
        return model(IMAGES[:4])


IMAGES = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def run(folder, pause=0.0, settings=SETTINGS):
    return train(Denoising(pause), IMAGES, settings, folder, progress=False)


def run_in_child(folder, pause=0.0):
    """The process id of a fork that trains."""
    child = os.fork()
    if child == 0:
        run(folder, pause)
        os._exit(0)
    return child


def kill_three_times(folder, seed):
    """Train, and be killed at random moments; then train undisturbed to the end."""
    moments = random.Random(seed)
    log = folder / "log.jsonl"
    for _ in range(3):
        before = log.stat().st_mtime_ns if log.exists() else None
        child = run_in_child(folder, PAUSE)
        while not log.exists() or log.stat().st_mtime_ns == before:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, LONGEST))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the training was over before it was killed"
    _, status = os.waitpid(run_in_child(folder), 0)
    assert status == 0


def content(folder):
    """All that a run leaves, without what the clock decides."""
    saved = saved_run.load(folder / "run.pt")
    seconds = saved.pop("seconds")
    history = [{**line, "samples_per_second": 0} for line in saved.pop("history")]
    log = (folder / "log.jsonl").read_text().splitlines()
    assert len(log) == len(history)
    assert seconds > 0
    return saved, history, {p.name: p.read_bytes() for p in folder.glob("*.png")}


def assert_same(a, b):
    """Bit by bit, through dictionaries and lists."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_killed_three_times(tmp_path):
    from helpers import child_environment

    command = [sys.executable, __file__, str(tmp_path), "0"]
    environment = child_environment()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert_same(content(tmp_path / "killed"), content(tmp_path / "whole"))
    assert content(tmp_path / "killed")[0]["skipped"] == 6


class Killed(BaseException):
    """Stands for the end of the process."""


def half_a_file(monkeypatch):
    """torch.save is killed in the middle."""
    torch_save = torch.save

    def half(obj, file):
        torch_save(obj, file)
        file.truncate(file.tell() // 2)
        raise Killed

    monkeypatch.setattr(torch, "save", half)


def no_rename(monkeypatch):
    """All is written, and the file not yet renamed."""

    def replace(self, target):
        raise Killed

    monkeypatch.setattr(Path, "replace", replace)


@pytest.mark.parametrize("kill", [half_a_file, no_rename])
def test_killed_while_writing(tmp_path, monkeypatch, kill):
    """A new file beside the old one, half or whole: the old one counts."""
    settings = replace(SETTINGS, steps=20)
    run(tmp_path / "whole", settings=settings)
    save = saved_run.save

    def save_until_step_12(path, content):
        if content["step"] == 12:
            kill(monkeypatch)
        save(path, content)

    monkeypatch.setattr(saved_run, "save", save_until_step_12)
    folder = tmp_path / "killed"
    with pytest.raises(Killed):
        run(folder, settings=settings)
    monkeypatch.undo()
    assert (folder / "run.pt.partial").stat().st_size > 0
    assert saved_run.load(folder / "run.pt")["step"] == 8
    run(folder, settings=settings)
    assert_same(content(folder), content(tmp_path / "whole"))
    assert not list(folder.glob("*.partial"))


if __name__ == "__main__":
    torch.optim.SGD([nn.Parameter(torch.zeros(()))])  # imports half of torch, once for all forks
    FOLDER = Path(sys.argv[1])
    os.waitpid(run_in_child(FOLDER / "whole"), 0)
    kill_three_times(FOLDER / "killed", int(sys.argv[2]))
