"""Fashion-MNIST, from its own file format."""

import gzip
from pathlib import Path

import numpy as np
import torch

from course_lib.data.cache import ImageSet
from course_lib.data.decoding import resize, to_bytes
from course_lib.data.real.descriptions import SETS, image_set
from course_lib.data.real.files import count, existing
from course_lib.project import CourseError


def fashion_mnist(
    root: str | Path, split: str = "train", n: int | None = None, *, size: int = 64
) -> ImageSet:
    """Fashion-MNIST, 28 x 28 enlarged to `size`, grey; the label is one of ten kinds of clothing.

    Validation is the last twelfth of the training files: 5000 images.

    Args:
        root: folder of train-images-idx3-ubyte.gz and its three companions.
        split: "train", "validation" or "test".
        n: number of images, by default all.
        size: side of an image, in pixels.

    Source: Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747.
    """
    prefix = "t10k" if split == "test" else "train"
    images = _read_idx(Path(root) / f"{prefix}-images-idx3-ubyte.gz")[:, None]
    labels = _read_idx(Path(root) / f"{prefix}-labels-idx1-ubyte.gz")
    last = len(images) - len(images) // 12
    part = {"train": slice(last), "validation": slice(last, None), "test": slice(None)}[split]
    labels = torch.from_numpy(labels[part]).long()
    images = torch.from_numpy(images[part][: count("fashion_mnist", n, len(labels))])
    parts = [to_bytes(resize(part.float() / 255, (size, size))) for part in images.split(1000)]
    return image_set("fashion_mnist", torch.cat(parts), labels)


def _read_idx(file: Path) -> np.ndarray:
    """An array of bytes in the format of MNIST: 0, 0, 8, the rank, big-endian sizes, the data."""
    existing(file, "a file", "fashion_mnist")
    try:
        content = np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8)
        shape = tuple(content[4 : 4 + 4 * content[3]].view(">u4"))
        return content[4 + 4 * len(shape) :].reshape(shape).copy()
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise CourseError(
            f"{file} is damaged ({error}). Get it again from {SETS['fashion_mnist'].source}."
        ) from error
