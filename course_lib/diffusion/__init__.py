"""Diffusion models: densities and samples from a denoiser D(x, sigma) = E[x_0 | x] alone."""

from course_lib.diffusion.common_noise import CommonNoisePotential
from course_lib.diffusion.probability_flow import (
    PotentialEstimate,
    estimate_potential,
    potential,
    potential_gradient,
)
from course_lib.diffusion.quadrature import GaussLegendre
from course_lib.diffusion.quantisation import bits_per_dimension, dequantise
from course_lib.diffusion.runge_kutta import AdaptiveSteps
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
from course_lib.diffusion.trace import Hutchinson, Probing, denoise_with_trace, rademacher

__all__ = [
    "EDM",
    "AdaptiveSteps",
    "CommonNoisePotential",
    "Denoiser",
    "GaussLegendre",
    "Hutchinson",
    "PotentialEstimate",
    "Probing",
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
