"""Worlds whose posteriors are known: what methods must find before they are trusted."""

from course_lib.exact.adversarial_game import best_discriminator, game_value, jensen_shannon
from course_lib.exact.blind_profile import blind_profile
from course_lib.exact.empirical_mixture import EmpiricalMixture
from course_lib.exact.favourable_signal import FavourableSignal, favourable_signal
from course_lib.exact.grids import grid_posterior
from course_lib.exact.labels import label_posterior
from course_lib.exact.linear_gaussian import LinearGaussian, MeanField, matrix_of
from course_lib.exact.pattern_world import draw_measurements, pattern_world
from course_lib.exact.stationary_denoising import StationaryPosterior, stationary_posterior
from course_lib.exact.stationary_gaussian import StationaryGaussian, power_law

__all__ = [
    "EmpiricalMixture",
    "FavourableSignal",
    "LinearGaussian",
    "MeanField",
    "StationaryGaussian",
    "StationaryPosterior",
    "best_discriminator",
    "blind_profile",
    "draw_measurements",
    "favourable_signal",
    "game_value",
    "grid_posterior",
    "jensen_shannon",
    "label_posterior",
    "matrix_of",
    "pattern_world",
    "power_law",
    "stationary_posterior",
]
