"""Methods without a learned prior: what a network has to beat."""

from course_lib.inference.classical.oracle import (
    best_by_psnr,
    oracle_median_tv,
    oracle_total_variation,
    oracle_tv_denoising,
)
from course_lib.inference.classical.sparse_baselines import Baseline, tuned_baselines

__all__ = [
    "Baseline",
    "best_by_psnr",
    "oracle_median_tv",
    "oracle_total_variation",
    "oracle_tv_denoising",
    "tuned_baselines",
]
