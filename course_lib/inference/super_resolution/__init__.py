"""Super-resolution with a hierarchical VAE."""

from course_lib.inference.super_resolution.consistency import consistency_projection
from course_lib.inference.super_resolution.latent_ambiguity import (
    draw_images,
    expected_consistency,
    latent_ambiguity,
)
from course_lib.inference.super_resolution.latent_divergence import latent_divergence
from course_lib.inference.super_resolution.latent_draws import draw_latents
from course_lib.inference.super_resolution.super_resolve import LatentEncoder, super_resolve

__all__ = [
    "LatentEncoder",
    "consistency_projection",
    "draw_images",
    "draw_latents",
    "expected_consistency",
    "latent_ambiguity",
    "latent_divergence",
    "super_resolve",
]
