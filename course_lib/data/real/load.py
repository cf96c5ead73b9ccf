"""Every real set by its name."""

import os
from pathlib import Path

from course_lib.data.cache import SPLITS, ImageSet
from course_lib.data.crops import Crops
from course_lib.data.real.descriptions import SETS
from course_lib.data.real.faces import celeba, ffhq, lfw, olivetti
from course_lib.data.real.fashion_mnist import fashion_mnist
from course_lib.data.real.files import Decoding
from course_lib.data.real.folders import bsds500, bsds500_each, split_folder
from course_lib.project import CourseError

LOADERS = {
    "folder": split_folder,
    "bsds500": bsds500,
    "bsds500_each": bsds500_each,
    "celeba": celeba,
    "ffhq": ffhq,
    "lfw": lfw,
    "olivetti": olivetti,
    "fashion_mnist": fashion_mnist,
}


def load_real(
    name: str,
    root: str | Path | None = None,
    split: str = "train",
    n: int | None = None,
    how: Decoding = Decoding(),
    *,
    crops: Crops | None = None,
) -> ImageSet:
    """A real set by its name, in one of its splits.

    Args:
        name: a key of `LOADERS`.
        root: its folder, by default `name` in COURSE_DATA_DIR; scikit-learn's for lfw, olivetti.
            The folder of bsds500_each is that of bsds500.
        split: "train", "validation" or "test".
        n: number of images, by default all of them (crops: see `bsds500`).
        how: size and colour; olivetti is as it is, fashion_mnist grey.
        crops: which crops of bsds500.

    Raises:
        CourseError: an unknown name or split, crops of a set that has none, or missing files; the
            message says which, and where to get them.
    """
    if name not in LOADERS:
        raise CourseError(f"load_real: unknown set {name!r}. There are: {', '.join(LOADERS)}.")
    if split not in SPLITS:
        raise CourseError(f"load_real: unknown split {split!r}. There are: {', '.join(SPLITS)}.")
    if crops is not None and name != "bsds500":
        raise CourseError(f"load_real: {name} is not cut into random crops; those of bsds500 are.")
    if name == "olivetti":
        return olivetti(root, split, n)
    if name == "lfw":
        return lfw(root, split, n, how)
    root = _default_root(name) if root is None else root
    if name == "bsds500":
        return bsds500(root, split, n, how, crops=crops or Crops())
    if name == "fashion_mnist":
        return fashion_mnist(root, split, n, size=how.size)
    return LOADERS[name](root, split, n, how)


def _default_root(name: str) -> Path:
    if folder := os.environ.get("COURSE_DATA_DIR"):
        return Path(folder) / name.removesuffix("_each")
    source = f" Get it from {SETS[name].source}." if name in SETS else ""
    raise CourseError(f"{name}: say where it is, by root (--root) or COURSE_DATA_DIR.{source}")
