"""Distances of an estimate from the truth: one value per image, the estimate first.

Images live in [0, 1] and nothing is clipped or quantised: an estimate that leaves the range is
judged as it is.
"""

from course_lib.metrics.alignment import align, best_shift, kernel_similarity
from course_lib.metrics.images import signed_to_unit, unit_to_signed
from course_lib.metrics.intervals import (
    bootstrap_by_group,
    mean_half_width,
    proportion_interval,
)
from course_lib.metrics.labels import (
    CalibrationBin,
    calibration_bins,
    label_frequencies,
    total_variation_distance,
)
from course_lib.metrics.naturalness import brisque, naturalness
from course_lib.metrics.perceptual import lpips, random_feature_distance, vgg_features
from course_lib.metrics.pixel import at_psnr, lr_psnr, mse, psnr, rmse
from course_lib.metrics.scene_statistics import brisque_features
from course_lib.metrics.structure import SsimFactors, ms_ssim, ssim, ssim_factors
from course_lib.metrics.uncertainty import (
    average_pairwise_distance,
    coverage_curve,
    energy_score,
    interval_coverage,
)

__all__ = [
    "CalibrationBin",
    "SsimFactors",
    "align",
    "at_psnr",
    "average_pairwise_distance",
    "best_shift",
    "bootstrap_by_group",
    "brisque",
    "brisque_features",
    "calibration_bins",
    "coverage_curve",
    "energy_score",
    "interval_coverage",
    "kernel_similarity",
    "label_frequencies",
    "lpips",
    "lr_psnr",
    "mean_half_width",
    "ms_ssim",
    "mse",
    "naturalness",
    "proportion_interval",
    "psnr",
    "random_feature_distance",
    "rmse",
    "signed_to_unit",
    "ssim",
    "ssim_factors",
    "total_variation_distance",
    "unit_to_signed",
    "vgg_features",
]
