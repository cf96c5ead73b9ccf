"""Where prior, operator and solver meet: one method a file."""

from course_lib.inference.keep_intact import keep_intact
from course_lib.inference.map_latent import conditional_mean, map_xz, map_z
from course_lib.inference.tiling import tiled

__all__ = ["conditional_mean", "keep_intact", "map_xz", "map_z", "tiled"]
