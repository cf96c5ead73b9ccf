"""One door to every set of images: the same images for the same question, splits apart."""

import sys
from types import SimpleNamespace

import pytest
import torch

from course_lib.data import worlds
from course_lib.data.cache import cache_info
from course_lib.data.photos import TEST_PHOTOS, TUNING_PHOTOS, load_crops
from course_lib.data.worlds import World, load_world
from course_lib.project import CourseError
from course_lib.rng import counter_uniform

HALF_STEP = 0.5 / 255 + 1e-7  # rounding to a byte, and the rounding of its division in float32


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("COURSE_DATA_DIR", raising=False)


@pytest.fixture
def tiny(monkeypatch):
    """A world of noise, registered as `tiny`."""

    def factors(index, *, seed):
        return SimpleNamespace(kind=(10 * counter_uniform(seed, index, 1, stream=1)[:, 0]).long())

    def sample(index, *, seed):
        tiny.calls += 1
        return counter_uniform(seed, index, 64 * 64).view(-1, 1, 64, 64), factors(index, seed=seed)

    tiny = SimpleNamespace(sample=sample, factors=factors, calls=0, VERSION=0)
    monkeypatch.setitem(sys.modules, "course_lib.data.tiny", tiny)
    monkeypatch.setitem(worlds.WORLDS, "tiny", World("noise", "tiny", label="kind"))
    return tiny


def test_images_are_those_of_the_world(tiny):
    images = load_world("tiny", n=70, progress=False)
    assert (len(images), images.description) == (70, "noise")
    index = torch.tensor([69, 0, 69])
    expected = tiny.sample(index, seed=0)[0]
    assert torch.allclose(images[index], expected, rtol=0, atol=HALF_STEP)
    assert torch.equal(images.labels, tiny.factors(torch.arange(70), seed=0).kind)


def test_splits_are_seeds(tiny):
    first = torch.tensor([0])
    for split, seed in (("train", 0), ("validation", 1), ("test", 2)):
        images = load_world("tiny", split, 3, progress=False)
        expected = tiny.sample(first, seed=seed)[0]
        assert torch.allclose(images[first], expected, rtol=0, atol=HALF_STEP)
        assert torch.equal(load_world("tiny", n=3, seed=seed, progress=False).images, images.images)
    assert len(cache_info()) == 3


def test_a_new_version_is_rendered_anew(tiny):
    for version in (None, 1, 2):
        if version is not None:
            tiny.VERSION = version
        before = tiny.calls
        for _ in range(2):
            load_world("tiny", n=5, progress=False)
        assert tiny.calls == before + 1


def test_number_of_images_by_default(tiny, monkeypatch):
    monkeypatch.setitem(worlds.SPLITS, "validation", 7)
    assert len(load_world("tiny", "validation", progress=False)) == 7


@pytest.mark.parametrize("name", ["plates", "portraits"])
def test_the_worlds_of_the_course(name):
    module = pytest.importorskip(f"course_lib.data.{name}")
    images = load_world(name, "test", 2, progress=False)
    expected = module.sample(torch.arange(2), seed=2)[0]
    assert images.images.shape == (2, 1, 64, 64)
    assert torch.allclose(images[torch.arange(2)], expected, rtol=0, atol=HALF_STEP)
    assert "MIT" in images.licence
    if name == "plates":
        assert torch.equal(images.labels, module.factors(torch.arange(2), seed=2).character)


def test_portraits_in_colour():
    """The same heads as in grey, on colour film."""
    images = load_world("portraits_colour", "test", 2, progress=False)
    portraits = pytest.importorskip("course_lib.data.portraits")
    expected = portraits.sample(torch.arange(2), seed=2, colour=True)[0]
    assert images.images.shape == (2, 3, 64, 64)
    assert torch.allclose(images[torch.arange(2)], expected, rtol=0, atol=HALF_STEP)


@pytest.mark.parametrize(("split", "names"), [("test", TEST_PHOTOS), ("validation", TUNING_PHOTOS)])
def test_photos_are_one_crop_from_each_bundled_photograph(split, names):
    photos = load_world("photos", split, seed=3)
    expected = load_crops(len(names), 64, seed=3, names=names).images
    assert torch.allclose(photos[:], expected, rtol=0, atol=HALF_STEP)
    assert cache_info() == []
    first = load_world("photos", split, 2, seed=3)
    assert torch.equal(first.images, photos.images[:2])


def test_photos_to_tune_on_are_not_those_to_test_on():
    assert TUNING_PHOTOS
    assert not set(TEST_PHOTOS) & set(TUNING_PHOTOS)


def test_photos_are_not_for_training():
    with pytest.raises(CourseError, match="photos are not for training, got split 'train'"):
        load_world("photos", n=5)


@pytest.mark.parametrize("n", [0, 13])
def test_no_photograph_gives_two_crops(n):
    with pytest.raises(CourseError, match=f"12 photographs are bundled .*got n={n}"):
        load_world("photos", "test", n)


def test_a_real_set_comes_through_the_same_door(tmp_path, monkeypatch):
    from PIL import Image

    (tmp_path / "bsds500" / "train").mkdir(parents=True)
    noise = (255 * counter_uniform(0, torch.arange(80), 90)).byte().numpy()
    Image.fromarray(noise).save(tmp_path / "bsds500" / "train" / "1.jpg")
    given = load_world("bsds500", n=4, root=tmp_path / "bsds500", progress=False)
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    found = load_world("bsds500", n=4, progress=False)
    assert torch.equal(given.images, found.images)
    other = load_world("bsds500", n=4, seed=1, n_jobs=2, progress=False)
    assert not torch.equal(other.images, found.images)


def test_bad_names(tiny):
    with pytest.raises(CourseError, match=r"unknown world 'faces'\. There are: portraits,"):
        load_world("faces")
    with pytest.raises(CourseError, match=r"unknown split 'val'\. There are: train, validation"):
        load_world("tiny", "val")
