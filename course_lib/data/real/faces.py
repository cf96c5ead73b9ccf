"""Sets of faces: CelebA, FFHQ, Labeled Faces in the Wild, Olivetti."""

import os
from pathlib import Path

import numpy as np
import torch

from course_lib.data.cache import ImageSet
from course_lib.data.decoding import to_bytes
from course_lib.data.real.descriptions import SETS, image_set
from course_lib.data.real.files import (
    Decoding,
    count,
    decoded,
    existing,
    images_under,
    in_split,
)
from course_lib.project import CourseError

MIDDLE = 128  # side of the central square that shows the face, in pixels


def celeba(
    root: str | Path, split: str = "train", n: int | None = None, how: Decoding = Decoding()
) -> ImageSet:
    """CelebA in its official splits: the central 128 x 128 of each 178 x 218 picture, resized.

    Args:
        root: folder of img_align_celeba/000001.jpg ... and list_eval_partition.txt.
        split: "train", "validation" or "test".
        n: number of images, by default all.
        how: size and colour.

    Source: Liu, Luo, Wang & Tang 2015, doi:10.1109/ICCV.2015.425.
    """
    root = Path(root)
    partition = existing(root / "list_eval_partition.txt", "the list of the splits", "celeba")
    folder = existing(root / "img_align_celeba", "the folder of jpg files", "celeba")
    code = {"train": "0", "validation": "1", "test": "2"}[split]
    rows = [line.split() for line in partition.read_text().splitlines() if line.strip()]
    files = [folder / file for file, part in rows if part == code]
    return image_set("celeba", decoded("celeba", files, n, how, MIDDLE))


def ffhq(
    root: str | Path, split: str = "train", n: int | None = None, how: Decoding = Decoding()
) -> ImageSet:
    """FFHQ thumbnails: 0-59999 to train, as is official; 60000-64999 validation; the rest test.

    Args:
        root: folder of 00000/00000.png ... or 00000.png ..., numbered 00000 to 69999.
        split, n, how: as in `celeba`.

    Source: Karras, Laine & Aila 2019, doi:10.1109/CVPR.2019.00453.
    """
    numbers = {"train": range(60_000), "validation": range(60_000, 65_000)}
    numbers["test"] = range(65_000, 70_000)
    files = images_under(Path(root), "the folder of png files", "ffhq")
    files = [f for f in files if f.stem.isdecimal() and int(f.stem) in numbers[split]]
    return image_set("ffhq", decoded("ffhq", files, n, how))


def lfw(
    root: str | Path | None = None,
    split: str = "train",
    n: int | None = None,
    how: Decoding = Decoding(),
) -> ImageSet:
    """Labeled Faces in the Wild: the central 128 x 128 of each picture, resized.

    The label is the person. Of ten persons in alphabetical order one is for validation and one
    for the test, so nobody is in two splits.

    Args:
        root: folder of lfw_funneled/<person>/<person>_0001.jpg ...; by default the one into which
            scikit-learn downloads it. Reading it does not need scikit-learn.
        split, n, how: as in `celeba`.

    Source: Huang, Ramesh, Berg & Learned-Miller, Univ. of Massachusetts TR 07-49, 2007.
    """
    home = os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")
    root = Path(home).expanduser() / "lfw_home" if root is None else Path(root)
    files = images_under(root / "lfw_funneled", "a folder for each person", "lfw")
    _, person = np.unique([file.parent.name for file in files], return_inverse=True)
    chosen = np.flatnonzero(in_split(split, person))
    images = decoded("lfw", [files[i] for i in chosen], n, how, MIDDLE)
    return image_set("lfw", images, torch.from_numpy(person[chosen]))


def olivetti(
    root: str | Path | None = None, split: str = "train", n: int | None = None
) -> ImageSet:
    """Olivetti faces, 64 x 64, grey, through scikit-learn; the label is the person, 0 to 39.

    Persons are split as in `lfw`: 320 images to train, 40 for validation, 40 for the test.

    Args:
        root: scikit-learn's data_home; None for its own default.
        split, n: as in `celeba`.

    Raises:
        CourseError: scikit-learn or the file is missing.

    Source: Samaria & Harter 1994, doi:10.1109/ACV.1994.341300.
    """
    try:
        from sklearn.datasets import fetch_olivetti_faces  # pyright: ignore[reportMissingImports]
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
    chosen = in_split(split, faces.target)
    images = to_bytes(torch.from_numpy(faces.images[chosen, None]))
    labels = torch.from_numpy(faces.target[chosen])
    return image_set("olivetti", images[: count("olivetti", n, len(images))], labels)
