"""Real sets in their own formats, a few files each: the right files, the right pixels."""

import gzip
import struct
import sys
from itertools import product
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.data import decoding
from course_lib.data import real as real_sets
from course_lib.data.crops import Crops
from course_lib.data.real import Decoding, load_real
from course_lib.project import CourseError

HALF = 0.5 / 255 + 1e-6  # rounding to a byte, and the rounding of the luma's weights


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("COURSE_DATA_DIR", "SCIKIT_LEARN_DATA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def save(path: Path, pixels: np.ndarray | float, shape: tuple[int, int] = (64, 64)) -> None:
    """A picture; a number is a uniform one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(pixels, int | float):
        pixels = np.full((*shape, 3), pixels)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def levels(images) -> list[int]:
    """The one value of each uniform picture."""
    flat = images.images.flatten(1)
    assert (flat == flat[:, :1]).all()
    return flat[:, 0].tolist()


def split_options(options: dict) -> tuple[Decoding, Crops | None]:
    """Options of tests as the objects that the loaders take."""
    crops = Crops(**{k: options.pop(k) for k in ("scales", "seed") if k in options})
    return Decoding(**{"progress": False, **options}), None if crops == Crops() else crops


def load(name: str, root=None, split="train", n=None, **options):
    how, crops = split_options(options)
    return load_real(name, root, split, n, how, crops=crops)


def image_folder(root: Path, size: int = 64, *, n=None, crops=None, **options):
    how, chosen = split_options({"size": size, **options})
    if crops is None:
        return real_sets.image_folder(root, n, how)
    return real_sets.image_folder(root, crops, how, crops=chosen or Crops())


def test_a_folder_of_pictures(tmp_path, rng):
    pixels = rng.integers(0, 256, (64, 64, 3))
    save(tmp_path / "set" / "b" / "2.PNG", pixels)
    save(tmp_path / "set" / "1.png", pixels[..., 0])  # a grey file
    (tmp_path / "set" / "notes.txt").write_text("no picture")
    colour = image_folder(tmp_path / "set", colour=True)
    assert colour.images.shape == (2, 3, 64, 64)
    assert torch.equal(colour.images[1], torch.from_numpy(pixels).byte().movedim(-1, 0))
    grey = image_folder(tmp_path / "set")
    assert torch.equal(grey.images[0, 0], colour.images[0, 0])
    luma = torch.from_numpy(pixels @ [0.2125, 0.7154, 0.0721] / 255).float()
    assert torch.allclose(grey[torch.tensor([1])][0, 0], luma, rtol=0, atol=HALF)
    assert len(image_folder(tmp_path / "set", n=1)) == 1


def test_the_centred_square_is_shrunk_by_averaging(tmp_path):
    """One white column in four becomes a quarter of white, a ramp a ramp; margins are cut off."""
    columns = np.broadcast_to(255 * (np.arange(128) % 4 == 1), (128, 128))
    wide = np.concatenate([np.zeros((128, 40)), columns, np.zeros((128, 41))], axis=1)
    save(tmp_path / "set" / "a.png", wide)
    ramp = np.broadcast_to(np.arange(128)[:, None], (128, 128))
    save(tmp_path / "set" / "b.png", ramp)
    images = image_folder(tmp_path / "set", 32).images[:, 0, 1:-1, 1:-1]
    # Triangular weights four pixels wide each way, taken every fourth pixel, sum to 1/4.
    assert (images[0] == round(255 / 4)).all()
    expected = (4 * torch.arange(1, 31) + 1.5)[:, None]
    assert (images[1] - expected).abs().max() <= 0.5


def test_rotated_by_the_camera(tmp_path):
    """A file that says `turn me` (EXIF orientation 6) is turned by a quarter, clockwise."""
    picture = Image.fromarray(np.arange(64 * 64).reshape(64, 64).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "set").mkdir()
    picture.save(tmp_path / "set" / "a.png", exif=exif)
    upright = np.rot90(np.asarray(picture), -1)
    assert (image_folder(tmp_path / "set").images[0, 0].numpy() == upright).all()


@pytest.fixture
def berkeley(tmp_path, rng):
    """Two photographs whose pixels tell their place: no two windows of 16 are alike."""
    root = tmp_path / "bsds500"
    for name in ("1.png", "2.png"):
        save(root / "train" / name, rng.integers(20, 236, (40, 61)))
    return root


def test_crops_are_windows_of_the_photographs(berkeley):
    crops = load("bsds500", berkeley, n=70, size=16, scales=(1.0,)).images[:, 0]
    for i, name in ((0, "1.png"), (1, "2.png"), (69, "2.png")):
        photo = torch.from_numpy(np.array(Image.open(berkeley / "train" / name)))
        windows = photo.unfold(0, 16, 1).unfold(1, 16, 1)
        assert (windows == crops[i]).all(-1).all(-1).sum() == 1


@pytest.fixture
def halves(tmp_path, rng):
    """A Berkeley set of 53 photographs to train on and 4 to test on, and what is in them."""
    root, photographs = tmp_path / "bsds500", {}
    for folder, count in (("train", 53), ("test", 4)):
        for i in range(count):
            pixels = rng.integers(20, 236, (20, 24))
            if i == 2:
                pixels[:, :14] = 128  # some of its crops are flat
            save(root / folder / f"{i:02}.png", pixels)
            photographs[folder, i] = torch.from_numpy(pixels.astype(np.uint8))
    return root, photographs


@pytest.mark.parametrize(
    ("split", "folder", "first", "count"), [("test", "test", 0, 4), ("validation", "train", 3, 50)]
)
def test_each_photograph_gives_one_crop_of_its_own(halves, split, folder, first, count):
    root, photographs = halves
    how = Decoding(size=12, progress=False)
    crops = load_real("bsds500_each", root, split, how=how).images[:, 0]
    assert len(crops) == count
    for i, crop in enumerate(crops):
        windows = photographs[folder, first + i].unfold(0, 12, 1).unfold(1, 12, 1)
        assert (windows == crop).all(-1).all(-1).sum() == 1
    few = load_real("bsds500_each", root, split, 3, how).images[:, 0]
    assert torch.equal(few, crops[:3])


def test_one_crop_each_is_not_for_training_and_never_more_than_there_are(halves):
    root, _ = halves
    with pytest.raises(CourseError, match="bsds500 trains"):
        load_real("bsds500_each", root, "train")
    with pytest.raises(CourseError, match="5 images were asked for, the split has 4"):
        load_real("bsds500_each", root, "test", 5)


def test_one_crop_each_is_found_where_the_set_is(halves, monkeypatch):
    root, _ = halves
    given = load_real("bsds500_each", root, "test", how=Decoding(size=12, progress=False)).images
    monkeypatch.setenv("COURSE_DATA_DIR", str(root.parent))
    found = load_real("bsds500_each", None, "test", how=Decoding(size=12, progress=False)).images
    assert torch.equal(given, found)


def test_crops_cover_the_photograph(berkeley):
    """1500 uniform draws miss one of 46 columns with probability 46 (1 - 1/46)^1500 = 2e-13."""
    crops = load("bsds500", berkeley, n=3000, size=16, scales=(1.0,)).images[::2, 0]
    photo = torch.from_numpy(np.array(Image.open(berkeley / "train" / "1.png")))
    windows = photo.unfold(0, 16, 1).unfold(1, 16, 1)[..., 0, :8].flatten(0, 1)
    places = (windows[None] == crops[:, 0, None, :8]).all(-1).int().argmax(1)
    assert set((places // 46).tolist()) == set(range(25))
    assert set((places % 46).tolist()) == set(range(46))


def test_crops_are_reproducible_and_do_not_depend_on_their_number(berkeley):
    options = {"size": 16}
    few = load("bsds500", berkeley, n=5, **options).images
    for change in ({"n": 200}, {"n": 200, "n_jobs": 2, "seed": 0}):
        load("bsds500", berkeley, **change, **options)
        assert torch.equal(load("bsds500", berkeley, **change, **options).images[:5], few)
    assert not torch.equal(load("bsds500", berkeley, n=5, seed=1, **options).images, few)
    same = image_folder(berkeley / "train", 16, crops=5)
    assert torch.equal(same.images, few)


def test_scales_shrink_what_is_seen(tmp_path):
    """On a ramp of slope 1 the slope of a crop is 1 / scale; all three occur."""
    ramp = np.broadcast_to(np.arange(16, 240), (100, 224))
    save(tmp_path / "bsds500" / "train" / "1.png", ramp)
    crops = load("bsds500", tmp_path / "bsds500", n=60, size=32).images[:, 0].float()
    slopes = (crops[:, :, -3] - crops[:, :, 2]).mean(1) / 27
    nearest = (slopes[:, None] - torch.tensor([1, 1 / 0.7, 2])).abs().min(1)
    # A level has a whole number of columns (157 for 156.8), and bytes are whole: 1/27.
    assert nearest.values.max() < 0.05
    assert nearest.indices.unique().tolist() == [0, 1, 2]


def test_flat_and_saturated_crops_are_drawn_again(tmp_path, rng):
    root = tmp_path / "bsds500"
    save(root / "train" / "1.png", rng.integers(126, 131, (64, 64)))  # nearly flat
    save(root / "train" / "2.png", rng.choice([0, 255, 128], (64, 64)))  # two thirds saturated
    save(root / "train" / "3.png", rng.integers(20, 236, (64, 64)))
    images = load("bsds500", root, n=30, size=16, scales=(1.0,))
    assert images.images.min() >= 20
    assert images[torch.arange(30)].flatten(1).std(1).min() > 0.02
    (root / "train" / "3.png").unlink()
    with pytest.raises(CourseError, match=r"32 crops of 16 x 16 pixels.*flat or saturated"):
        load("bsds500", root, n=30, size=16, scales=(1.0,))


def test_large_photographs_are_shrunk_first(tmp_path):
    """A crop of 64 from 2048 pixels would be a blur: the short side becomes 512 pixels."""
    ramp = np.broadcast_to(np.linspace(20, 230, 2048), (2048, 2048))
    save(tmp_path / "set" / "a.png", ramp)
    crop = image_folder(tmp_path / "set", 64, crops=1, scales=(1.0,)).images[0, 0]
    slope = (crop[:, -1].float() - crop[:, 0].float()).mean() / 63
    assert abs(slope - 210 / 512) < 1.1 / 63  # both ends are whole bytes


def test_too_small_for_a_crop(tmp_path):
    save(tmp_path / "set" / "a.png", 0, (20, 90))
    with pytest.raises(CourseError, match="20 x 90 pixels, too small for crops of 32"):
        image_folder(tmp_path / "set", 32, crops=1)


def test_decoded_once_unless_files_or_options_change(tmp_path, monkeypatch):
    decoded = []
    open_file = decoding.open_picture
    monkeypatch.setattr(
        decoding, "open_picture", lambda *a, **k: decoded.append(a) or open_file(*a, **k)
    )
    save(tmp_path / "set" / "a.png", 3)

    def value(**options) -> int:
        return levels(image_folder(tmp_path / "set", **options))[0]

    assert (value(), value(), len(decoded)) == (3, 3, 1)
    assert (value(size=32), len(decoded)) == (3, 2)
    assert (value(colour=True), len(decoded)) == (3, 3)
    save(tmp_path / "set" / "a.png", 4)
    assert (value(), len(decoded)) == (4, 4)


@pytest.fixture
def celebrities(tmp_path):
    """Uniform 128 x 128 in the middle of 178 x 218: its value is ten times the number."""
    root = tmp_path / "celeba"
    for i in range(1, 7):
        pixels = np.zeros((218, 178, 3))
        pixels[45:173, 25:153] = 10 * i
        save(root / "img_align_celeba" / f"{i:06d}.png", pixels)
    rows = [f"{i:06d}.png {code}" for i, code in zip(range(1, 7), (0, 0, 1, 0, 2, 2), strict=True)]
    (root / "list_eval_partition.txt").write_text("\n".join(rows) + "\n")
    return root


def test_celeba(celebrities):
    assert levels(load("celeba", celebrities)) == [10, 20, 40]
    assert levels(load("celeba", celebrities, "validation")) == [30]
    assert levels(load("celeba", celebrities, "test", size=32, colour=True)) == [50, 60]
    assert levels(load("celeba", celebrities, "train", 2)) == [10, 20]
    with pytest.raises(CourseError, match="celeba: 4 images were asked for, the split has 3"):
        load("celeba", celebrities, "train", 4)


def test_celeba_with_something_missing(celebrities):
    (celebrities / "img_align_celeba" / "000002.png").unlink()
    with pytest.raises(CourseError, match=r"000002\.png is listed but missing"):
        load("celeba", celebrities)
    save(celebrities / "img_align_celeba" / "000003.png", 1, (100, 100))
    with pytest.raises(CourseError, match="is 100 x 100 pixels, expected 128 at least"):
        load("celeba", celebrities, "validation")
    partition = celebrities / "list_eval_partition.txt"
    partition.unlink()
    with pytest.raises(CourseError) as error:
        load("celeba", celebrities)
    for part in (str(partition), "holds img_align_celeba", "mmlab.ie.cuhk.edu.hk/projects/CelebA"):
        assert part in str(error.value)


@pytest.mark.parametrize("nested", [True, False])
def test_ffhq(tmp_path, nested):
    for i, number in enumerate((0, 59_999, 60_000, 64_999, 65_000, 69_999)):
        folder = f"{number // 1000 * 1000:05d}" if nested else ""
        save(tmp_path / "ffhq" / folder / f"{number:05d}.png", i, (128, 128))
    assert levels(load("ffhq", tmp_path / "ffhq")) == [0, 1]
    assert levels(load("ffhq", tmp_path / "ffhq", "validation")) == [2, 3]
    assert levels(load("ffhq", tmp_path / "ffhq", "test")) == [4, 5]


def test_lfw(tmp_path, monkeypatch):
    """Twelve persons with two pictures each, where scikit-learn puts them."""
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    for person, shot in product(range(12), (1, 2)):
        folder = tmp_path / "lfw_home" / "lfw_funneled" / f"Ann_{chr(65 + person)}"
        save(folder / f"{folder.name}_{shot:04d}.png", 10 * person + shot, (250, 250))
    train = load("lfw", None)
    assert train.labels.tolist() == sorted([*range(8), 10, 11] * 2)
    assert levels(train) == [10 * p + s for p in (*range(8), 10, 11) for s in (1, 2)]
    assert levels(load("lfw", tmp_path / "lfw_home", "validation")) == [81, 82]
    test = load("lfw", None, "test", 1)
    assert (levels(test), test.labels.tolist()) == ([91], [9])


@pytest.fixture
def scikit_learn(monkeypatch):
    """Stands for scikit-learn, so that the test does not need it."""

    def fetch(*, data_home: Path | None, download_if_missing: bool) -> SimpleNamespace:
        assert download_if_missing is False
        if data_home is None or not (data_home / "olivetti_py3.pkz").exists():
            raise OSError("Data not found and `download_if_missing` is False")
        target = np.arange(400) // 10
        images = np.broadcast_to(np.arange(400)[:, None, None] / 400, (400, 64, 64))
        return SimpleNamespace(images=images.astype(np.float32), target=target)

    datasets = ModuleType("sklearn.datasets")
    datasets.fetch_olivetti_faces = fetch
    monkeypatch.setitem(sys.modules, "sklearn", ModuleType("sklearn"))
    monkeypatch.setitem(sys.modules, "sklearn.datasets", datasets)


def test_olivetti(tmp_path, scikit_learn):
    (tmp_path / "olivetti_py3.pkz").touch()
    train = load("olivetti", tmp_path)
    assert (len(train), len(train.labels.unique())) == (320, 32)
    test = load("olivetti", tmp_path, "test", 15)
    assert test.labels.tolist() == [9] * 10 + [19] * 5
    assert torch.allclose(test[torch.tensor([0])], torch.tensor(90 / 400), rtol=0, atol=HALF)


def test_olivetti_says_what_is_missing(tmp_path, scikit_learn, monkeypatch):
    with pytest.raises(CourseError, match=r"olivetti_py3\.pkz in .*fetch_olivetti_faces\(\)"):
        load("olivetti", tmp_path)
    with pytest.raises(CourseError, match="in scikit-learn's data folder"):
        load("olivetti")
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(CourseError, match="pip install scikit-learn"):
        load("olivetti", tmp_path)


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def clothes(tmp_path, rng):
    for prefix, n in (("train", 24), ("t10k", 5)):
        images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", np.arange(n).astype(np.uint8))
    return tmp_path


def test_fashion_mnist(clothes):
    train, validation, test = (
        load("fashion_mnist", clothes, split) for split in ("train", "validation", "test")
    )
    assert train.images.shape == (22, 1, 64, 64)
    assert train.labels.tolist() == list(range(22))
    assert validation.labels.tolist() == [22, 23]
    assert test.labels.tolist() == list(range(5))
    stored = gzip.decompress((clothes / "t10k-images-idx3-ubyte.gz").read_bytes())
    small = load("fashion_mnist", clothes, "test", size=28)
    assert small.images.numpy().tobytes() == stored[16:]
    assert load("fashion_mnist", clothes, "test", 2).labels.tolist() == [0, 1]


def test_fashion_mnist_damaged_or_missing(clothes):
    file = clothes / "t10k-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    content = gzip.decompress(whole)
    for damaged in (whole[:-20], b"", b"text", gzip.compress(content[:-1]), gzip.compress(b"")):
        file.write_bytes(damaged)
        with pytest.raises(CourseError, match=r"t10k-images-idx3-ubyte\.gz is damaged"):
            load("fashion_mnist", clothes, "test")
    file.unlink()
    with pytest.raises(CourseError, match=r"Expected a file at .*github\.com/zalandoresearch"):
        load("fashion_mnist", clothes, "test")


def test_a_damaged_picture_is_named(tmp_path, rng):
    file = tmp_path / "set" / "a.png"
    save(file, rng.integers(0, 256, (64, 64)))
    whole = file.read_bytes()
    for damaged in (whole[:500], b"text", whole[:100] + b"????????" + whole[108:]):
        file.write_bytes(damaged)
        with pytest.raises(CourseError, match=r"a\.png is not a picture that can be read"):
            image_folder(tmp_path / "set")


@pytest.mark.parametrize("name", ["bsds500", "celeba", "ffhq", "lfw", "fashion_mnist"])
def test_an_absent_set_says_where_and_how(name, tmp_path, monkeypatch):
    if name != "lfw":
        with pytest.raises(
            CourseError, match=rf"{name}: say where it is, .*COURSE_DATA_DIR.*Get it"
        ):
            load_real(name)
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    (tmp_path / "something").mkdir()
    root = tmp_path / name if name == "lfw" else None
    with pytest.raises(CourseError) as error:
        load_real(name, root, "train")
    for part in (f"at {tmp_path / name}", f"{tmp_path} holds", "something", "Get it from"):
        assert part in str(error.value)


def test_bad_input(tmp_path, celebrities):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CourseError, match=r"unknown set 'imagenet'\. There are: folder, bsds500"):
        load_real("imagenet", tmp_path)
    with pytest.raises(CourseError, match=r"unknown split 'val'\. There are: train, validation"):
        load_real("celeba", celebrities, "val")
    with pytest.raises(CourseError, match="hold no jpg or png file"):
        image_folder(tmp_path / "empty")
    with pytest.raises(CourseError, match="0 images were asked for"):
        image_folder(celebrities, n=0)


def test_folder_of_the_reader_is_split(tmp_path):
    """Twenty files: 16 to train, 2 to validate, 2 to test, none in two of them."""
    for i in range(20):
        Image.fromarray(np.full((20, 30), 10 * i, np.uint8)).save(tmp_path / f"{i:02d}.png")
    found = {
        split: load("folder", tmp_path, split, size=8).images[:, 0, 0, 0].tolist()
        for split in ("train", "validation", "test")
    }
    assert found["validation"] == [80, 180]
    assert found["test"] == [90, 190]
    assert sorted(tone for tones in found.values() for tone in tones) == list(range(0, 200, 10))
