"""Where prior, operator and solver meet: one method a file."""

from course_lib.inference.keep_intact import keep_intact
from course_lib.inference.tiling import tiled

__all__ = ["keep_intact", "tiled"]
