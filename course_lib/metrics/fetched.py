"""Where the files of published metrics are kept once `course fetch perceptual` has got them.

They lie beside the cached images, which a size cap evicts; these files it leaves alone.
"""

import hashlib
from functools import cache
from pathlib import Path

from course_lib.project import CourseError, cache_folder

WEIGHTS = {"alex": "alexnet.safetensors", "vgg": "vgg16.safetensors"}
DIGESTS = {  # of the content of each file, relative to `perceptual_folder`
    "alexnet.safetensors": "ada1183e820ce56c449759f7ffaa98a25ec7b093c4f9464fb5841cfa4ec2ca1b",
    "vgg16.safetensors": "dba94a174e456ec7828243f57d09709600532fa016b679bd54f1d2e2887ce738",
    "brisque/allmodel": "7c8e239223d4ff930cbfad4bfbceb685dbf0977804794979d2a9ed54f5d8bf1f",
    "brisque/allrange": "c661dbbd4b9f6a18c6b4cef21808f3a36258ed4822912c1b883d3c54ffcf024d",
}


class NotFetched(CourseError, FileNotFoundError):
    """A published file that is not there: `what` lacks it, and one command gets it."""

    def __init__(self, what: str, path: Path) -> None:
        super().__init__(
            f"{what}: {path.name} is not in {path.parent}. "
            "Run `course fetch perceptual` once, with a network."
        )


def perceptual_folder() -> Path:
    """Folder of what `course fetch perceptual` gets, in COURSE_CACHE_DIR or the user's cache."""
    return cache_folder() / "perceptual"


def weights_path(net: str) -> Path:
    """File of convolutions and linear layers of a net of LPIPS, present or not."""
    return perceptual_folder() / WEIGHTS[net]


def content_digest(path: Path) -> str:
    """The sha256 of a file; of safetensors without their header, which differs by version."""
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        content = content[8 + int.from_bytes(content[:8], "little") :]
    return hashlib.sha256(content).hexdigest()


def check_fetched(what: str, name: str) -> Path:
    """The path of a fetched file, if it is there and is the expected one.

    Args:
        what: the function that asks, for the message.
        name: one of `DIGESTS`.

    Raises:
        NotFetched: it is not there.
        CourseError: it is another file.
    """
    path = perceptual_folder() / name
    if not path.is_file():
        raise NotFetched(what, path)
    stat = path.stat()
    if _digest(path, stat.st_mtime_ns, stat.st_size) != DIGESTS[name]:
        raise CourseError(
            f"{what}: {path} is not the file that `course fetch perceptual` writes; it was cut "
            "short or changed. Run that command again: it replaces the file."
        )
    return path


@cache
def _digest(path: Path, _time: int, _size: int) -> str:
    """Once for each state of a file."""
    return content_digest(path)


def brisque_folder() -> Path:
    """Folder of the files `allmodel` and `allrange` of BRISQUE, present or not."""
    return perceptual_folder() / "brisque"
