"""Diffusion models as laws of images; all that is asked for is a denoiser E[x_0 | x]."""

from course_lib.diffusion.samplers import (
    euler,
    heun,
    noise_levels,
    reverse_sde,
    sample,
    stochastic_heun,
)
from course_lib.diffusion.schedules import (
    EDM,
    Denoiser,
    Schedule,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
    denoiser_from_noise,
    denoiser_from_score,
)

__all__ = [
    "EDM",
    "Denoiser",
    "Schedule",
    "SubVariancePreserving",
    "VarianceExploding",
    "VariancePreserving",
    "denoiser_from_noise",
    "denoiser_from_score",
    "euler",
    "heun",
    "noise_levels",
    "reverse_sde",
    "sample",
    "stochastic_heun",
]
