"""Smoothed total variation: its value, its gradient, and a whole denoising descent."""

from course_lib.kernels.smoothed_tv.functions import (
    Descent,
    momenta,
    smoothed_tv_denoise,
    smoothed_tv_grad,
    smoothed_tv_value,
)

__all__ = ["Descent", "momenta", "smoothed_tv_denoise", "smoothed_tv_grad", "smoothed_tv_value"]
