"""The application: photographs of a reader, restored and reported."""

from course_lib.restore.keep_intact import keep_intact
from course_lib.restore.tiled_decoder import TiledDecoder
from course_lib.restore.tiles import apply_in_tiles

__all__ = ["TiledDecoder", "apply_in_tiles", "keep_intact"]
