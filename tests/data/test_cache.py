"""The cache gives back what was made, resumes, forgets the oldest, and harms nothing else."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from course_lib.data.cache import (
    BATCH,
    SHARD,
    ImageSet,
    cache_folder,
    cache_info,
    cache_limit,
    cached_images,
    clear_cache,
)
from course_lib.project import CourseError

SIZE = (2, 3, 5)  # 30 bytes an image


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("COURSE_CACHE_MAX_MB", raising=False)
    return tmp_path / "cache"


class Maker:
    """Image i is filled with i modulo 251; remembers which images it was asked for."""

    def __init__(self, stop_after: float = float("inf")) -> None:
        self.asked: list[int] = []
        self.stop_after = stop_after

    def __call__(self, batch: range) -> np.ndarray:
        if len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked += batch
        return np.broadcast_to(numbered(batch)[:, None, None, None], (len(batch), *SIZE))


def numbered(batch: range) -> np.ndarray:
    return (np.array(batch) % 251).astype(np.uint8)


def get(name: str, n: int, make, **options) -> torch.Tensor:
    images = cached_images(name, n, SIZE, make, progress=False, **options)
    assert images.shape == (n, *SIZE)
    assert images.dtype == torch.uint8
    expected = torch.from_numpy(numbered(range(n)))[:, None, None, None]
    assert (images == expected).all()
    return images


def use_at(folder: Path, name: str, time: float) -> None:
    os.utime(folder / name, (time, time))


@pytest.mark.parametrize("n", [1, BATCH + 1, SHARD, 2 * SHARD + 70])
def test_made_once_then_read(n, folder):
    first, second = Maker(), Maker()
    get("a", n, first)
    assert first.asked == list(range(n))
    get("a", n, second)
    assert second.asked == []
    assert len(list(folder.glob("a/*"))) == -(-n // SHARD)  # shards, and no draft beside them


def test_more_images_are_added_and_fewer_are_a_part():
    get("a", 100, Maker())
    more = Maker()
    get("a", SHARD + 10, more)
    assert more.asked == list(range(100, SHARD + 10))
    fewer = Maker()
    get("a", 30, fewer)
    get("a", SHARD + 10, fewer)  # the short request did not shorten the file
    assert fewer.asked == []


def test_callers_cannot_damage_the_cache():
    get("a", 10, Maker()).zero_()
    get("a", 10, Maker())


def test_an_interrupted_run_goes_on_where_it_stopped():
    stopped = Maker(stop_after=SHARD + 3 * BATCH)
    with pytest.raises(KeyboardInterrupt):
        get("a", 2 * SHARD, stopped)
    resumed = Maker()
    get("a", 2 * SHARD, resumed)
    assert stopped.asked + resumed.asked == list(range(2 * SHARD))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def scribble(path: Path) -> None:
    path.write_text("not an array")


def of_another_shape(path: Path) -> None:
    np.save(path, np.zeros((SHARD, 1, 3, 5), np.uint8))


def of_another_kind(path: Path) -> None:
    np.save(path, np.zeros((SHARD, *SIZE), np.float32))


@pytest.mark.parametrize("damage", [cut, empty, scribble, of_another_shape, of_another_kind])
def test_a_damaged_file_is_made_again(damage, folder):
    get("a", 3 * SHARD, Maker())
    damage(folder / "a" / "00001.npy")
    again = Maker()
    get("a", 3 * SHARD, again)
    assert again.asked == list(range(SHARD, 2 * SHARD))


@pytest.mark.parametrize("prefer", ["processes", "threads"])
def test_two_workers_give_the_same_images(prefer):
    def make(batch: range) -> np.ndarray:  # nested: sent to the workers as it is
        filled = (np.array(batch) % 251).astype(np.uint8)[:, None, None, None]
        return np.broadcast_to(filled, (len(batch), 2, 3, 5))

    get("a", 300, make, n_jobs=2, prefer=prefer)


def test_progress_goes_to_stderr_only_when_something_is_made(capsys):
    for expected in (True, False):
        cached_images("dots", 3, SIZE, Maker())
        printed = capsys.readouterr()
        assert printed.out == ""
        assert ("dots" in printed.err) is expected


def test_the_least_recently_used_make_room(folder, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE_MAX_MB", "0.1")  # three of these sets, of 30 kB each
    for time, name in enumerate("abc"):
        get(name, 1000, Maker())
        use_at(folder, name, 1000 + time)
    get("a", 1000, Maker())  # used now
    get("d", 1000, Maker())
    assert sorted(entry.name for entry in cache_info()) == ["a", "c", "d"]
    use_at(folder, "c", 1)
    get("c", 1010, Maker())  # 300 bytes more fit: nothing goes
    assert len(cache_info()) == 3
    use_at(folder, "c", 2)
    get("c", 2000, Maker())  # c is the oldest, but it is the one that grows
    assert "c" in [entry.name for entry in cache_info()]
    assert sum(entry.bytes for entry in cache_info()) <= cache_limit()


def test_a_limit_below_one_request_is_an_error(monkeypatch):
    get("kept", 10, Maker())
    monkeypatch.setenv("COURSE_CACHE_MAX_MB", "0.01")
    with pytest.raises(CourseError, match=r"a needs 3 MB, more than .* hold: 0 MB.*COURSE_CACHE_M"):
        get("a", 100_000, Maker())
    assert [entry.name for entry in cache_info()] == ["kept"]
    monkeypatch.setenv("COURSE_CACHE_MAX_MB", "plenty")
    with pytest.raises(CourseError, match="expected megabytes such as 2000, got 'plenty'"):
        cache_limit()


def test_info_and_clear(folder):
    assert cache_info() == clear_cache() == []
    for time, name in enumerate(("plates-v0-seed0", "plates-v0-seed1", "platesque-v0")):
        get(name, SHARD + 1, Maker())
        use_at(folder, name, 1000 + time)
    entries = cache_info()
    assert [entry.name[-5:] for entry in entries] == ["seed0", "seed1", "ue-v0"]
    assert [entry.files for entry in entries] == [2, 2, 2]
    assert entries[0].bytes == sum(f.stat().st_size for f in folder.glob("plates-v0-seed0/*"))
    assert entries[1].last_used.timestamp() == 1001
    with pytest.raises(CourseError, match=r"'plate' is not in the cache .* holds plates-v0-seed0"):
        clear_cache("plate")
    assert clear_cache("plates-v0-seed1") == entries[1:2]
    assert clear_cache("plates") == entries[:1]
    assert cache_info() == entries[2:]
    assert clear_cache() == entries[2:]
    assert list(folder.iterdir()) == []


def test_files_of_others_are_left_alone(folder):
    """A reader may point the cache at a folder that holds something else."""
    (folder / "thesis").mkdir(parents=True)
    (folder / "thesis" / "results.npy").write_text("years of work")
    get("a", 5, Maker())
    (folder / "a" / "notes.txt").write_text("mine")
    assert [entry.name for entry in clear_cache()] == ["a"]
    kept = sorted(path.name for path in folder.rglob("*.*"))
    assert kept == ["notes.txt", "results.npy"]


def test_a_folder_that_cannot_be_written(folder):
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file where the folder should be")
    with pytest.raises(CourseError, match=r"cannot be written .*Set COURSE_CACHE_DIR"):
        get("a", 5, Maker())


@pytest.mark.parametrize(
    ("platform", "variable", "place"),
    [
        ("linux", "XDG_CACHE_HOME", ".cache"),
        ("darwin", None, "Library/Caches"),
        ("win32", "LOCALAPPDATA", "AppData/Local"),
    ],
)
def test_default_folder_of_each_system(platform, variable, place, tmp_path, monkeypatch):
    for name in ("COURSE_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / place / "course_lib"
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "chosen"))
        assert cache_folder() == tmp_path / "chosen" / "course_lib"


def test_bad_number():
    with pytest.raises(ValueError, match="expected n >= 1, got 0"):
        cached_images("a", 0, SIZE, Maker(), progress=False)


def test_an_image_set_hands_out_floats():
    pixels = torch.arange(6 * 30, dtype=torch.uint8).view(6, *SIZE)
    images = ImageSet(pixels, "numbers", "none", torch.arange(6))
    assert len(images) == 6
    index = torch.tensor([4, 1, 4])
    assert torch.equal(images[index], pixels[index].float() / 255)
    assert images[index].dtype == torch.float32
    moved = images.to("meta")
    assert moved.images.device.type == moved.labels.device.type == "meta"
    assert ImageSet(pixels, "numbers", "none").to("cpu").labels is None
