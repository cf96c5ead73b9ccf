"""Variational Bayes with a latent space and an image space."""

from course_lib.inference.vble.descent import StochasticAdam
from course_lib.inference.vble.posterior import VariationalPosterior
from course_lib.inference.vble.vble import VARIANTS, VBLE

__all__ = ["VARIANTS", "VBLE", "StochasticAdam", "VariationalPosterior"]
