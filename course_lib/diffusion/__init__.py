"""Diffusion models as laws of images; all that is asked for is a denoiser E[x_0 | x]."""

from course_lib.diffusion.probability_flow import (
    Estimate,
    bits_per_dimension,
    denoise_with_trace,
    dequantise,
    estimate_potential,
    potential,
    potential_gradient,
    rademacher,
)
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
    "Estimate",
    "Schedule",
    "SubVariancePreserving",
    "VarianceExploding",
    "VariancePreserving",
    "bits_per_dimension",
    "denoise_with_trace",
    "denoiser_from_noise",
    "denoiser_from_score",
    "dequantise",
    "estimate_potential",
    "euler",
    "heun",
    "noise_levels",
    "potential",
    "potential_gradient",
    "rademacher",
    "reverse_sde",
    "sample",
    "stochastic_heun",
]
