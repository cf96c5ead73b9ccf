"""Where the files of published metrics are kept once `course fetch perceptual` has got them.

They lie beside the cached images, which a size cap evicts; these files it leaves alone.
"""

from pathlib import Path

from course_lib.project import CourseError, cache_folder

WEIGHTS = {"alex": "alexnet.safetensors", "vgg": "vgg16.safetensors"}


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


def brisque_folder() -> Path:
    """Folder of the files `allmodel` and `allrange` of BRISQUE, present or not."""
    return perceptual_folder() / "brisque"
