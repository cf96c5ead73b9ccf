"""Folders of photographs: those of the reader, and the Berkeley set."""

from pathlib import Path

import numpy as np

from course_lib.data.cache import SPLITS, ImageSet
from course_lib.data.crops import Crops
from course_lib.data.real.descriptions import image_set
from course_lib.data.real.files import Decoding, count, cropped, decoded, images_under, in_split
from course_lib.project import CourseError

PHOTOGRAPHS = "a folder of jpg or png files"
TUNING = 50  # photographs of the training half of the Berkeley set, the last by name


def image_folder(
    root: str | Path,
    n: int | None = None,
    how: Decoding = Decoding(),
    *,
    crops: Crops | None = None,
) -> ImageSet:
    """All jpg and png files of a folder and its sub-folders, as square images.

    Args:
        root: the folder.
        n: number of images: the first files, by default all of them, or crops.
        how: size and colour.
        crops: random crops of the photographs; None for one image a file, its centred square
            resized with an antialiasing filter.

    Raises:
        CourseError: no folder, no image, a damaged file, or photographs without a usable crop.
    """
    files = images_under(Path(root), PHOTOGRAPHS)
    if crops is None:
        images = decoded("folder", files, n, how)
    else:
        images = cropped("folder", files, len(files) if n is None else n, crops, how)
    return ImageSet(images, f"images of {root}", "that of the folder's owner")


def split_folder(
    root: str | Path, split: str = "train", n: int | None = None, how: Decoding = Decoding()
) -> ImageSet:
    """A folder of images of the reader, one image a file, split by the order of their names.

    Files number 8, 18, ... are for validation, 9, 19, ... for the test, the others to train on.
    """
    files = images_under(Path(root), PHOTOGRAPHS)
    chosen = np.flatnonzero(in_split(split, np.arange(len(files))))
    images = decoded("folder", [files[i] for i in chosen], n, how)
    return ImageSet(images, f"images of {root}", "that of the folder's owner")


def bsds500(
    root: str | Path,
    split: str = "train",
    n: int | None = None,
    how: Decoding = Decoding(),
    *,
    crops: Crops = Crops(),
) -> ImageSet:
    """Random crops of the Berkeley photographs: root/train, root/val, root/test with jpg files.

    n crops, by default 20,000 to train and 2000 otherwise.
    Source: Arbelaez, Maire, Fowlkes & Malik 2011, doi:10.1109/TPAMI.2010.161.
    """
    files = _berkeley(root, {"validation": "val"}.get(split, split))
    images = cropped("bsds500", files, SPLITS[split] if n is None else n, crops, how)
    return image_set("bsds500", images)


def bsds500_each(
    root: str | Path, split: str = "test", n: int | None = None, how: Decoding = Decoding()
) -> ImageSet:
    """One random crop from each Berkeley photograph, at its own scale: independent images.

    Weights of the course are trained on root/train, its settings are tuned on some of the same
    photographs, and its tables are measured on root/test.

    Args:
        root: the folder with the folders train and test.
        split: "test", the 200 test photographs; "validation", the last 50 of the training half.
        n: number of photographs, the first by name; by default all of them.
        how: size and colour.

    Raises:
        CourseError: the split "train" (see `bsds500`), more crops than photographs, missing files.
    """
    if split == "train":
        raise CourseError("bsds500_each: photographs to tune or to test on; bsds500 trains.")
    files = _berkeley(root, "test") if split == "test" else _berkeley(root, "train")[-TUNING:]
    crops = Crops(scales=(1.0,), one_each=True)
    images = cropped("bsds500_each", files, count("bsds500_each", n, len(files)), crops, how)
    return image_set("bsds500_each", images)


def _berkeley(root: str | Path, folder: str) -> tuple[Path, ...]:
    return images_under(Path(root) / folder, "a folder of jpg photographs", "bsds500")
