"""Two processes that share a batch make the steps of one process that has all of it.

Run as a script, this file is one of the processes: `python test_distributed.py FOLDER`.
"""

import math
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from course_lib.rng import normal_like
from course_lib.training import Objective, Settings, train

SETTINGS = Settings(
    steps=20,
    batch_size=12,
    shards=4,
    learning_rate=0.01,
    clip_norm=math.inf,
    precision="float32",
    log_every=6,
    save_every=5,
)
ONE_STEP = replace(SETTINGS, steps=1)
IMAGES = torch.rand(50, 1, 6, 6, generator=torch.Generator().manual_seed(0))


class Denoising(Objective):
    """A network with an unused parameter, a running buffer, and a different start everywhere."""

    def __init__(self, seed=0, stop_at=math.inf):
        torch.manual_seed(seed)
        self.stop_at = stop_at
        self.model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.SiLU(), nn.Conv2d(4, 1, 3))
        self.model.unused = nn.Parameter(torch.ones(3))
        self.model.register_buffer("level", torch.tensor(0.5))

    def loss(self, player, batch, *, done, generator):
        if done >= self.stop_at:
            raise InterruptedError
        noisy = batch + self.model.level * normal_like(batch, generator)
        error = self.model(noisy) - batch[..., 2:-2, 2:-2]
        return error.square().mean(), {"mae": error.abs().mean()}

    def after_step(self, figures):
        self.model.level.lerp_(torch.tensor(figures["mae"]), 0.1)


def run(folder, settings, **kwargs):
    return train(Denoising(**kwargs), IMAGES, settings, folder, progress=False)


def report(training):
    """What the processes are compared by."""
    return {
        "raw": dict(training.raw.state_dict()),
        "average": dict(training.model.state_dict()),
        "gradient": [p.grad for p in training.raw.parameters() if p.grad is not None],
        "history": [{**line, "samples_per_second": 0} for line in training.history],
        "steps": training.steps,
    }


def work(folder):
    """What each process does."""
    rank = int(os.environ["RANK"])
    reports = {"one": report(run(folder / "one", ONE_STEP, seed=rank))}
    try:
        run(folder / "many", SETTINGS, seed=rank, stop_at=0.6)
    except InterruptedError:
        reports["many"] = report(run(folder / "many", SETTINGS, seed=10 + rank))
    settings, minutes = replace(SETTINGS, shards=1), 0.002 * (1 + rank)
    timed = train(Denoising(), IMAGES, settings, folder / "timed", progress=False, minutes=minutes)
    reports["timed"] = report(timed)
    torch.save(reports, folder / f"report_{rank}.pt")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def relative_gap(a, b):
    """Euclidean distance of two lists of tensors, over the length of the second."""
    a, b = (torch.cat([t.double().flatten() for t in tensors]) for tensors in (a, b))
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    from helpers import child_environment

    environment = {
        **child_environment(),
        **{"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())},
    }
    workers = [
        subprocess.Popen(
            [sys.executable, __file__, str(tmp_path)],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        one = report(run(tmp_path / "alone_one", ONE_STEP))
        many = report(run(tmp_path / "alone_many", SETTINGS))
        errors = [worker.communicate(timeout=120)[1] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            worker.stderr.close()
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(errors)

    first, second = (torch.load(tmp_path / f"report_{rank}.pt") for rank in range(2))
    # The order of a sum of four float32 gradients is all that differs.
    assert relative_gap(first["one"]["gradient"], one["gradient"]) < 1e-6
    for name in ("raw", "average"):
        ours, theirs = first["many"][name], second["many"][name]
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
        # Twenty steps of Adam, which divides by the size of the gradient, add up such roundings.
        assert relative_gap(ours.values(), many[name].values()) < 1e-5
    assert first["many"]["history"] == second["many"]["history"]
    assert [line["step"] for line in first["many"]["history"]] == [6, 12, 18, 20]
    for line, expected in zip(first["many"]["history"], many["history"], strict=True):
        assert abs(line["loss"] - expected["loss"]) < 1e-5 * expected["loss"]
    assert first["timed"]["steps"] == second["timed"]["steps"]  # the first one's minutes count
    assert sorted(p.name for p in (tmp_path / "many").iterdir()) == ["log.jsonl", "run.pt"]


if __name__ == "__main__":
    work(Path(sys.argv[1]))
