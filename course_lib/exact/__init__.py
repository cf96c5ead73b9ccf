"""Worlds whose posteriors are known: what methods must find before they are trusted."""

from course_lib.exact.exact_worlds import EmpiricalMixture, StationaryGaussian, power_law
from course_lib.exact.favourable_signal import FavourableSignal, favourable_signal
from course_lib.exact.linear_gaussian import LinearGaussian, matrix_of
from course_lib.exact.posterior_reference import grid_posterior, label_posterior
from course_lib.exact.stationary_denoising import StationaryPosterior, stationary_posterior

__all__ = [
    "EmpiricalMixture",
    "FavourableSignal",
    "LinearGaussian",
    "StationaryGaussian",
    "StationaryPosterior",
    "favourable_signal",
    "grid_posterior",
    "label_posterior",
    "matrix_of",
    "power_law",
    "stationary_posterior",
]
