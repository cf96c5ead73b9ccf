"""Restoration by a denoiser in the place of a prior."""

from course_lib.inference.plug_and_play.half_quadratic import (
    FallingLevels,
    half_quadratic_splitting,
    misfit,
)
from course_lib.inference.plug_and_play.noise_rule import Matched, matched_to_noise

__all__ = ["FallingLevels", "Matched", "half_quadratic_splitting", "matched_to_noise", "misfit"]
