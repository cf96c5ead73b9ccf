"""Where prior, operator and solver meet: one method a file."""

from course_lib.inference.deep_generative_prior import Phase, deep_generative_prior
from course_lib.inference.deep_image_prior import deep_image_prior, impedance
from course_lib.inference.hvae_superresolution import (
    bicubic_downsampling,
    consistency_projection,
    draw_images,
    expected_consistency,
    latent_ambiguity,
    latent_divergence,
    super_resolve,
)
from course_lib.inference.keep_intact import keep_intact
from course_lib.inference.map_latent import Pushforward, conditional_mean, map_xz, map_z
from course_lib.inference.posterior_reference import label_posterior
from course_lib.inference.singan import fit_singan, harmonise, singan_enlarge
from course_lib.inference.tiling import tiled

__all__ = [
    "Phase",
    "Pushforward",
    "bicubic_downsampling",
    "conditional_mean",
    "consistency_projection",
    "deep_generative_prior",
    "deep_image_prior",
    "draw_images",
    "expected_consistency",
    "fit_singan",
    "harmonise",
    "impedance",
    "keep_intact",
    "label_posterior",
    "latent_ambiguity",
    "latent_divergence",
    "map_xz",
    "map_z",
    "singan_enlarge",
    "super_resolve",
    "tiled",
]
