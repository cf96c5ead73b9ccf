"""Where prior, operator and solver meet: one method a file."""

from course_lib.inference.tiling import tiled

__all__ = ["tiled"]
