"""Where prior, operator and solver meet: one method a file."""

from course_lib.inference.blind_deconvolution import (
    JointHessian,
    blind_deconvolution,
    blind_richardson_lucy,
    deconvolve,
    profile,
)
from course_lib.inference.deep_generative_prior import Phase, deep_generative_prior
from course_lib.inference.deep_image_prior import deep_image_prior, impedance
from course_lib.inference.keep_intact import keep_intact
from course_lib.inference.map_latent import Pushforward, conditional_mean, map_xz, map_z
from course_lib.inference.posterior_reference import label_posterior
from course_lib.inference.singan import fit_singan, harmonise, super_resolve
from course_lib.inference.tiling import tiled

__all__ = [
    "JointHessian",
    "Phase",
    "Pushforward",
    "blind_deconvolution",
    "blind_richardson_lucy",
    "conditional_mean",
    "deconvolve",
    "deep_generative_prior",
    "deep_image_prior",
    "fit_singan",
    "harmonise",
    "impedance",
    "keep_intact",
    "label_posterior",
    "map_xz",
    "map_z",
    "profile",
    "super_resolve",
    "tiled",
]
