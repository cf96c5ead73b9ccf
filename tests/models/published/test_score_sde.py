"""Averaged weights of score-SDE files: a list without names, in the order of the parameters."""

import os

import pytest
import torch
from torch import nn

from course_lib.models.published.score_sde import load_song
from course_lib.project import CourseError


class Malicious:
    """Runs a command when it is unpickled in the usual way."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


class Small(nn.Module):
    """Three parameters, one of them frozen, and a buffer."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 3), nn.Linear(3, 2, bias=False)
        self.frozen = nn.Parameter(torch.zeros(2), requires_grad=False)
        self.register_buffer("sigmas", torch.zeros(4))


def write_song(path, model, averaged):
    named = {f"module.{name}": value for name, value in model.state_dict().items()}
    content = {
        "optimizer": {"state": {}, "param_groups": []},
        "model": named,
        "ema": {"decay": 0.999, "num_updates": 3, "shadow_params": averaged},
        "step": 7,
    }
    torch.save(content, path)


def test_song_file(tmp_path):
    """Averaged weights go in by order, buffers and frozen parameters by name."""
    path, saved = tmp_path / "checkpoint.pth", Small()
    saved.sigmas.copy_(torch.arange(4.0))
    saved.frozen.data.fill_(5)
    averaged = [torch.full_like(p, k) for k, p in enumerate(saved.parameters()) if p.requires_grad]
    write_song(path, saved, averaged)
    loaded = load_song(path, Small())
    trained = [p for name, p in loaded.named_parameters() if name != "frozen"]
    for value, expected in zip(trained, averaged, strict=True):
        torch.testing.assert_close(value, expected, check_stride=False)
    assert loaded.sigmas.tolist() == [0, 1, 2, 3]
    assert loaded.frozen.tolist() == [5, 5]


def test_song_file_that_does_not_fit(tmp_path):
    path, model = tmp_path / "checkpoint.pth", Small()
    averaged = [p.detach() for p in model.parameters() if p.requires_grad]
    write_song(path, model, averaged[:-1])
    with pytest.raises(CourseError, match="2 averaged tensors, the model has 3"):
        load_song(path, Small())
    write_song(path, model, averaged[::-1])
    with pytest.raises(CourseError, match="does not fit"):
        load_song(path, Small())
    torch.save({"ema": Malicious(tmp_path / "proof")}, path)
    with pytest.raises(CourseError, match="damaged"):
        load_song(path, Small())
    assert not (tmp_path / "proof").exists()
