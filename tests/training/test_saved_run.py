"""A saved run is replaced in one piece, and only the same run goes on with it."""

import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from course_lib.project import CourseError
from course_lib.training import Settings, saved_run

SETTINGS = Settings(steps=3)


def content(step: int) -> dict:
    entries = dict.fromkeys(saved_run.KEYS, 0)
    return {**entries, "step": step, "settings": asdict(SETTINGS), "timed": False}


def test_the_old_file_stays_whole_for_who_has_it_open(tmp_path):
    """A new file takes its name; written in place, the old content would be gone."""
    path = tmp_path / "new" / "run.pt"
    saved_run.save(path, content(1))
    with path.open("rb") as old:
        saved_run.save(path, content(2))
        assert torch.load(old)["step"] == 1
    assert saved_run.load(path)["step"] == 2
    assert [file.name for file in path.parent.iterdir()] == ["run.pt"]


def test_it_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    order, fsync, rename = [], os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: order.append("disk") or fsync(file))
    monkeypatch.setattr(
        Path, "replace", lambda self, to: order.append((self.name, to.name)) or rename(self, to)
    )
    saved_run.save(tmp_path / "run.pt", content(1))
    assert order == ["disk", ("run.pt.partial", "run.pt")]


def test_settings_that_are_unknown_here_are_named(tmp_path):
    """A file of another version may hold a setting that this one would silently drop."""
    saved = content(1)
    asked = {**saved, "settings": asdict(replace(SETTINGS, save_every=7))}
    saved_run.check_same_run(tmp_path, saved, asked)  # how often it is saved is free
    saved["settings"] = {**saved["settings"], "momentum": 0.5}
    with pytest.raises(CourseError, match=r"begun with momentum = 0\.5"):
        saved_run.check_same_run(tmp_path, saved, asked)


def test_data_of_another_order_number_or_label_are_other_data(generator):
    """The same batch has the same print; one image, one label or one sample more changes it."""

    class Pairs:
        def __init__(self, images, labels):
            self.images, self.labels = images, labels

        def __len__(self):
            return len(self.images)

        def __getitem__(self, index):
            return self.images[index], self.labels[index]

    images, labels = torch.rand(12, 1, 4, 4, generator=generator), torch.arange(12)
    settings = Settings(steps=3, batch_size=6)
    brighter, other = images.clone(), labels.clone()
    seen = settings.indices(0, 12)[0]
    brighter[seen, 0, 0, 0] += 0.1
    other[seen] += 1
    prints = [
        saved_run.identity(None, Pairs(x, label), settings)["data"]
        for x, label in (
            (images, labels),
            (images.clone(), labels.clone()),
            (brighter, labels),
            (images, other),
            (images.flip(0), labels.flip(0)),
            (torch.cat([images, images[:1]]), torch.cat([labels, labels[:1]])),
        )
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 5
