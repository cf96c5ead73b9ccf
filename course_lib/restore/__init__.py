"""The application: photographs of a reader, restored and reported."""

from course_lib.restore.networks import apply_in_tiles, keep_intact
from course_lib.restore.penalties import Penalty
from course_lib.restore.photographs import Degradation, restore_photo
from course_lib.restore.tiled_decoder import TiledDecoder
from course_lib.restore.variational import VariationalBayes

__all__ = [
    "Degradation",
    "Penalty",
    "TiledDecoder",
    "VariationalBayes",
    "apply_in_tiles",
    "keep_intact",
    "restore_photo",
]
