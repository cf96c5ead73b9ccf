"""Real image sets, for readers who have them: no file is downloaded.

Every loader takes `root`, the folder of the set; `load_real` finds it under COURSE_DATA_DIR too.
Decoded images are kept in the cache, under a name that changes with the files and the options.
Grey is always the luma 0.2125 R + 0.7154 G + 0.0721 B.
"""

import gzip
import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate

from course_lib.data.cache import SPLITS, ImageSet, cached_images
from course_lib.project import CourseError
from course_lib.rng import counter_uniform


class RealSet(NamedTuple):
    """What is said of a set, and where its files come from."""

    description: str
    licence: str
    source: str


SETS = {
    "bsds500": RealSet(
        "crops of the Berkeley segmentation photographs",
        "non-commercial research and education",
        "www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/resources.html: "
        "BSR_bsds500.tgz, 70 MB; root is its folder BSR/BSDS500/data/images",
    ),
    "celeba": RealSet(
        "CelebA, faces of celebrities, aligned",
        "non-commercial research",
        "mmlab.ie.cuhk.edu.hk/projects/CelebA.html: img_align_celeba.zip, 1.4 GB, and "
        "list_eval_partition.txt",
    ),
    "ffhq": RealSet(
        "FFHQ, faces from Flickr",
        "CC BY-NC-SA 4.0; every photograph has its own in the set's metadata",
        "github.com/NVlabs/ffhq-dataset: the folder thumbnails128x128, 2 GB",
    ),
    "lfw": RealSet(
        "Labeled Faces in the Wild, funneled",
        "none stated; collected for research",
        "scikit-learn, by sklearn.datasets.fetch_lfw_people(): lfw-funneled.tgz, 240 MB, which it "
        "unpacks into lfw_home/lfw_funneled",
    ),
    "olivetti": RealSet(
        "Olivetti faces, ten photographs of each of forty persons",
        "credit to AT&T Laboratories Cambridge is asked for",
        "scikit-learn, by sklearn.datasets.fetch_olivetti_faces(): olivetti_py3.pkz, a few MB",
    ),
    "fashion_mnist": RealSet(
        "Fashion-MNIST, pieces of clothing, 28 x 28 pixels",
        "MIT",
        "github.com/zalandoresearch/fashion-mnist: four files *-ubyte.gz, 30 MB",
    ),
}

VERSION = 0  # of the decoding below: a new number leaves the cached images aside
SCALES = (1.0, 0.7, 0.5)
SHORT_SIDE = 512  # photographs are shrunk to it before crops are cut: else crops show only blur
MIN_STD, MAX_SATURATED = 0.02, 0.25  # what a crop must have: some contrast, not too much 0 or 255
TRIES = 32


def image_folder(
    root: str | Path,
    size: int = 64,
    *,
    crops: int | None = None,
    scales: Sequence[float] = SCALES,
    seed: int = 0,
    n: int | None = None,
    **reading: object,
) -> ImageSet:
    """All jpg and png files of a folder and its sub-folders, as size x size images.

    Either one image a file, its centred square resized with an antialiasing filter, or random
    crops of the photographs at several scales. Crop i starts at photograph i modulo their number
    and is a function of (seed, i); flat or saturated crops are drawn again from the next one.

    Args:
        root: the folder.
        size: side of the images, in pixels.
        crops: how many crops; None for one image a file.
        scales: the photographs are resized by one of these factors before a crop is cut.
        seed: names the draw of the crops.
        n: the first n files only, when crops is None.
        reading: colour=True for three channels; n_jobs threads that decode; progress=False for no
            progress bar. The other loaders take these and `size` too.

    Raises:
        CourseError: no folder, no image, a damaged file, or photographs without a usable crop.
    """
    root = _existing(Path(root), "a folder of jpg or png files")
    files = _images_under(root)
    if crops is None:
        images = _decoded("folder", files, n, size=size, **reading)
    else:
        images = _crops("folder", files, crops, tuple(scales), seed, size=size, **reading)
    return ImageSet(images, f"images of {root}", "that of the folder's owner")


def split_folder(
    root: str | Path, split: str = "train", n: int | None = None, **reading: object
) -> ImageSet:
    """A folder of images of the reader, one image a file, split by the order of their names.

    Files number 8, 18, ... are for validation, 9, 19, ... for the test, the others to train on.
    """
    root = _existing(Path(root), "a folder of jpg or png files")
    files = _images_under(root)
    chosen = [file for i, file in enumerate(files) if _in_split(split, i)]
    images = _decoded("folder", chosen, n, **reading)
    return ImageSet(images, f"images of {root}", "that of the folder's owner")


def bsds500(
    root: str | Path,
    split: str = "train",
    n: int | None = None,
    *,
    scales: Sequence[float] = SCALES,
    seed: int = 0,
    **reading: object,
) -> ImageSet:
    """Random crops of the Berkeley photographs: root/train, root/val, root/test with jpg files.

    Drawn as by `image_folder`; n crops, by default 20,000 to train and 2000 otherwise.
    Source: Arbelaez, Maire, Fowlkes & Malik 2011, doi:10.1109/TPAMI.2010.161.
    """
    folder = Path(root) / {"validation": "val"}.get(split, split)
    files = _images_under(_existing(folder, "a folder of jpg photographs", "bsds500"))
    count = SPLITS[split] if n is None else n
    return _image_set("bsds500", _crops("bsds500", files, count, tuple(scales), seed, **reading))


def celeba(
    root: str | Path,
    split: str = "train",
    n: int | None = None,
    **reading: object,
) -> ImageSet:
    """CelebA in its official splits: the central 128 x 128 of each 178 x 218 picture, resized.

    Args:
        root: holds img_align_celeba/000001.jpg ... and list_eval_partition.txt.

    Source: Liu, Luo, Wang & Tang 2015, doi:10.1109/ICCV.2015.425.
    """
    root = Path(root)
    partition = _existing(root / "list_eval_partition.txt", "the list of the splits", "celeba")
    folder = _existing(root / "img_align_celeba", "the folder of jpg files", "celeba")
    code = {"train": "0", "validation": "1", "test": "2"}[split]
    rows = [line.split() for line in partition.read_text().splitlines() if line.strip()]
    files = [folder / file for file, part in rows if part == code]
    return _image_set("celeba", _decoded("celeba", files, n, cut=128, **reading))


def ffhq(
    root: str | Path,
    split: str = "train",
    n: int | None = None,
    **reading: object,
) -> ImageSet:
    """FFHQ thumbnails: 0-59999 to train, as is official; 60000-64999 validation; the rest test.

    Args:
        root: holds 00000/00000.png ... or 00000.png ..., numbered 00000 to 69999.

    Source: Karras, Laine & Aila 2019, doi:10.1109/CVPR.2019.00453.
    """
    root = _existing(Path(root), "the folder of png files", "ffhq")
    first, last = {"train": (0, 60_000), "validation": (60_000, 65_000), "test": (65_000, 70_000)}[
        split
    ]
    numbered = [file for file in _images_under(root) if file.stem.isdecimal()]
    files = [file for file in numbered if first <= int(file.stem) < last]
    return _image_set("ffhq", _decoded("ffhq", files, n, **reading))


def lfw(
    root: str | Path | None = None,
    split: str = "train",
    n: int | None = None,
    **reading: object,
) -> ImageSet:
    """Labeled Faces in the Wild: the central 128 x 128 of each picture, resized.

    The label is the person. Of ten persons in alphabetical order one is for validation and one
    for the test, so nobody is in two splits.

    Args:
        root: holds lfw_funneled/<person>/<person>_0001.jpg ...; by default the folder into which
            scikit-learn downloads it. Reading it does not need scikit-learn.

    Source: Huang, Ramesh, Berg & Learned-Miller, Univ. of Massachusetts TR 07-49, 2007.
    """
    home = os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")
    root = Path(home).expanduser() / "lfw_home" if root is None else Path(root)
    files = _images_under(_existing(root / "lfw_funneled", "a folder for each person", "lfw"))
    _, person = np.unique([file.parent.name for file in files], return_inverse=True)
    chosen = np.flatnonzero(_in_split(split, person))
    images = _decoded("lfw", [files[i] for i in chosen], n, cut=128, **reading)
    return _image_set("lfw", images, torch.from_numpy(person[chosen]))


def olivetti(
    root: str | Path | None = None, split: str = "train", n: int | None = None
) -> ImageSet:
    """Olivetti faces, 64 x 64, grey, through scikit-learn; the label is the person, 0 to 39.

    Persons are split as in `lfw`: 320 images to train, 40 for validation, 40 for the test.

    Args:
        root: scikit-learn's data_home; None for its own default.

    Raises:
        CourseError: scikit-learn or the file is missing.

    Source: Samaria & Harter 1994, doi:10.1109/ACV.1994.341300.
    """
    try:
        from sklearn.datasets import fetch_olivetti_faces
    except ModuleNotFoundError as error:
        raise CourseError(
            f"olivetti: {error.name} is missing. Try: pip install scikit-learn"
        ) from error
    try:
        faces = fetch_olivetti_faces(data_home=root, download_if_missing=False)
    except OSError as error:
        place = "scikit-learn's data folder" if root is None else root
        raise CourseError(
            f"Expected olivetti_py3.pkz in {place}. Get it from {SETS['olivetti'].source}."
        ) from error
    chosen = _in_split(split, faces.target)
    images = _bytes(torch.from_numpy(faces.images[chosen, None]))
    count = _count("olivetti", n, len(images))
    labels = torch.from_numpy(faces.target[chosen])
    return _image_set("olivetti", torch.from_numpy(images[:count]), labels)


def fashion_mnist(
    root: str | Path, split: str = "train", n: int | None = None, *, size: int = 64
) -> ImageSet:
    """Fashion-MNIST, 28 x 28 enlarged to `size`, grey; the label is one of ten kinds of clothing.

    Validation is the last twelfth of the training files: 5000 images.

    Args:
        root: holds train-images-idx3-ubyte.gz and its three companions.

    Source: Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747.
    """
    prefix = "t10k" if split == "test" else "train"
    images = _read_idx(Path(root) / f"{prefix}-images-idx3-ubyte.gz", "fashion_mnist")[:, None]
    labels = _read_idx(Path(root) / f"{prefix}-labels-idx1-ubyte.gz", "fashion_mnist")
    last = len(images) - len(images) // 12
    part = {"train": slice(last), "validation": slice(last, None), "test": slice(None)}[split]
    labels = torch.from_numpy(labels[part]).long()
    images = images[part][: _count("fashion_mnist", n, len(labels))]
    enlarged = [
        _bytes(_resize(batch.float() / 255, (size, size)))
        for batch in torch.from_numpy(images).split(1000)
    ]
    return _image_set("fashion_mnist", torch.from_numpy(np.concatenate(enlarged)), labels)


LOADERS = {
    "folder": split_folder,
    "bsds500": bsds500,
    "celeba": celeba,
    "ffhq": ffhq,
    "lfw": lfw,
    "olivetti": olivetti,
    "fashion_mnist": fashion_mnist,
}


def read_image(file: str | Path, size: int, *, colour: bool = False) -> Float[Tensor, "1 c h w"]:
    """The centred square of an image file at size x size pixels, of 8 bits: multiples of 1/255.

    Raises:
        CourseError: no such file, or not a picture.
    """
    square = _square(_existing(Path(file), "an image"), size, colour, cut=None)
    return torch.from_numpy(square)[None].float() / 255


def load_real(
    name: str,
    root: str | Path | None = None,
    split: str = "train",
    n: int | None = None,
    **options: object,
) -> ImageSet:
    """A real set by its name, in one of its splits.

    Args:
        name: a key of `LOADERS`.
        root: its folder, by default `name` in COURSE_DATA_DIR; scikit-learn's for lfw, olivetti.
        split: "train", "validation" or "test".
        n: the first n images, by default all of them (as many crops as `bsds500` says).
        options: those of the loader: size, colour, seed ...; n_jobs and progress mean nothing where
            no file is decoded.

    Raises:
        CourseError: an unknown name or split, or missing files; the message says which, and
            where to get them.
    """
    if name not in LOADERS:
        raise CourseError(f"load_real: unknown set {name!r}. There are: {', '.join(LOADERS)}.")
    if split not in SPLITS:
        raise CourseError(f"load_real: unknown split {split!r}. There are: {', '.join(SPLITS)}.")
    if name in ("olivetti", "fashion_mnist"):
        options = {k: v for k, v in options.items() if k not in ("n_jobs", "progress")}
    if root is None and name not in ("olivetti", "lfw"):
        if "COURSE_DATA_DIR" not in os.environ:
            raise CourseError(
                f"{name}: say where it is, by root or COURSE_DATA_DIR. "
                f"Get it from {SETS[name].source}."
            )
        root = Path(os.environ["COURSE_DATA_DIR"]) / name
    return LOADERS[name](root, split, n, **options)


def _image_set(name: str, images: Tensor, labels: Tensor | None = None) -> ImageSet:
    labels = None if labels is None else labels[: len(images)]
    return ImageSet(images, SETS[name].description, SETS[name].licence, labels)


def _in_split(split: str, number):
    """Persons (or files) number 8, 18, ... are for validation, 9, 19, ... for the test."""
    return {"train": number % 10 < 8, "validation": number % 10 == 8, "test": number % 10 == 9}[
        split
    ]


def _count(name: str, n: int | None, available: int) -> int:
    if available == 0:
        raise CourseError(f"{name}: this split has no image at all in the given folder.")
    if n is not None and not 1 <= n <= available:
        raise CourseError(f"{name}: {n} images were asked for, the split has {available}.")
    return available if n is None else n


def _read_idx(file: Path, name: str) -> np.ndarray:
    """An array of bytes in the format of MNIST: 0, 0, 8, the rank, big-endian sizes, the data."""
    _existing(file, "a file", name)
    try:
        content = np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8)
        shape = tuple(content[4 : 4 + 4 * content[3]].view(">u4"))
        return content[4 + 4 * len(shape) :].reshape(shape).copy()
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise CourseError(
            f"{file} is damaged ({error}). Get it again from {SETS[name].source}."
        ) from error


def _existing(path: Path, what: str, name: str | None = None) -> Path:
    """The path itself, or an error with what is there instead and where to get the files."""
    if path.exists():
        return path
    parent = next(p for p in path.absolute().parents if p.is_dir())
    found = ", ".join(sorted(p.name for p in parent.iterdir())[:8]) or "nothing"
    source = f" Get it from {SETS[name].source}." if name in SETS else ""
    raise CourseError(f"Expected {what} at {path}; {parent} holds {found}.{source}")


def _images_under(folder: Path) -> tuple[Path, ...]:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not files:
        raise CourseError(f"{folder} and its sub-folders hold no jpg or png file.")
    return tuple(files)


def _decoded(
    name: str,
    files: Sequence[Path],
    n: int | None,
    *,
    cut: int | None = None,
    size: int = 64,
    colour: bool = False,
    n_jobs: int = 1,
    progress: bool = True,
) -> Tensor:
    """The centred squares of the first n files, through the cache."""
    count = _count(name, n, len(files))

    def make(batch: range) -> np.ndarray:
        return np.stack([_square(files[i], size, colour, cut) for i in batch])

    key = _cache_name(name, files, size, colour, cut)
    img_size = (3 if colour else 1, size, size)
    return cached_images(
        key, count, img_size, make, n_jobs=n_jobs, prefer="threads", progress=progress
    )


def _crops(
    name: str,
    files: tuple[Path, ...],
    n: int,
    scales: tuple[float, ...],
    seed: int,
    *,
    size: int = 64,
    colour: bool = False,
    n_jobs: int = 1,
    progress: bool = True,
) -> Tensor:
    """n random crops, through the cache."""

    @lru_cache(maxsize=256)  # every photograph gives many crops
    def levels(number: int) -> tuple[np.ndarray, ...]:
        return _levels(files[number], scales, size, colour)

    def crop(first: int, draws: list[list[float]]) -> np.ndarray:
        """The first drawn crop that has contrast; try t looks into photograph first + t."""
        for step, draw in enumerate(draws):
            window = _window(levels((first + step) % len(files)), size, draw)
            saturated = np.mean((window <= 1) | (window >= 254))
            if window.std() >= 255 * MIN_STD and saturated <= MAX_SATURATED:
                return window
        raise CourseError(
            f"{TRIES} crops of {size} x {size} pixels, from {files[first % len(files)]} onwards, "
            "were all flat or saturated. Are these photographs?"
        )

    def make(batch: range) -> np.ndarray:
        draws = counter_uniform(seed, torch.tensor(batch), 3 * TRIES).view(-1, TRIES, 3)
        return np.stack([crop(i, draw) for i, draw in zip(batch, draws.tolist(), strict=True)])

    key = _cache_name(name, files, size, colour, scales, seed)
    img_size = (3 if colour else 1, size, size)
    return cached_images(key, n, img_size, make, n_jobs=n_jobs, prefer="threads", progress=progress)


def _window(levels: tuple[np.ndarray, ...], size: int, draw: list[float]) -> np.ndarray:
    """A level, a row and a column, chosen by three numbers in [0, 1)."""
    level = levels[int(draw[0] * len(levels))]
    row, column = (
        int(u * (side - size + 1)) for u, side in zip(draw[1:], level.shape[-2:], strict=True)
    )
    return level[:, row : row + size, column : column + size]


def _levels(
    file: Path, scales: tuple[float, ...], size: int, colour: bool
) -> tuple[np.ndarray, ...]:
    """A photograph at those of the scales that leave room for a crop, (C, H, W) uint8 each."""
    image = _open(file, colour)
    height, width = image.shape[-2:]
    shrink = min(1.0, SHORT_SIDE / min(height, width))
    shapes = [(round(height * shrink * s), round(width * shrink * s)) for s in scales]
    levels = [_bytes(_resize(image, shape)) for shape in shapes if min(shape) >= size]
    if not levels:
        raise CourseError(f"{file} is {height} x {width} pixels, too small for crops of {size}.")
    return tuple(levels)


def _square(file: Path, size: int, colour: bool, cut: int | None) -> np.ndarray:
    """The centred square of side `cut` (the largest if None), resized to `size`."""
    image = _open(file, colour)
    height, width = image.shape[-2:]
    side = cut or min(height, width)
    if side > min(height, width):
        raise CourseError(f"{file} is {height} x {width} pixels, expected {side} at least.")
    top, left = (height - side) // 2, (width - side) // 2
    return _bytes(_resize(image[:, top : top + side, left : left + side], (size, size)))


def _open(file: Path, colour: bool) -> Float[Tensor, "c h w"]:
    """A file's picture, upright, in [0, 1]; grey is its luma."""
    try:
        with Image.open(file) as picture:
            if picture.mode.startswith(("I", "F")):
                raise CourseError(f"{file} has more than 8 bits a channel; convert it to 8 bits.")
            pixels = np.array(ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:  # SyntaxError: a broken PNG
        raise CourseError(f"{file} is not a picture that can be read ({error}).") from error
    image = torch.from_numpy(pixels).movedim(-1, 0).float() / 255
    if colour:
        return image
    return (image * torch.tensor([0.2125, 0.7154, 0.0721])[:, None, None]).sum(0, True)


def _resize(image: Tensor, shape: tuple[int, int]) -> Tensor:
    if image.shape[-2:] == shape:
        return image
    batch = image if image.ndim == 4 else image[None]
    resized = interpolate(batch, shape, mode="bilinear", antialias=True, align_corners=False)
    return resized if image.ndim == 4 else resized[0]


def _bytes(image: Tensor) -> np.ndarray:
    return (image.clamp(0, 1) * 255).round().byte().numpy()


def _cache_name(name: str, files: Sequence[Path], *options: object) -> str:
    try:
        stats = [(file.name, (s := file.stat()).st_size, s.st_mtime_ns) for file in files]
    except FileNotFoundError as error:
        raise CourseError(f"{name}: {error.filename} is listed but missing.") from error
    facts = (VERSION, str(files[0].parent.absolute()), stats, options)
    return f"{name}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:12]}"
