"""Where prior, operator and solver meet: one method a file."""

from course_lib.inference.blind_deconvolution import (
    JointHessian,
    Stage,
    blind_deconvolution,
    blind_richardson_lucy,
    coarse_to_fine,
    deconvolve,
    profile,
)
from course_lib.inference.chain_diagnostics import effective_sample_size, split_r_hat
from course_lib.inference.deep_generative_prior import Phase, deep_generative_prior
from course_lib.inference.deep_image_prior import deep_image_prior, impedance
from course_lib.inference.hamiltonian import Chains, hamiltonian_monte_carlo
from course_lib.inference.hvae_superresolution import (
    bicubic_downsampling,
    consistency_projection,
    draw_images,
    expected_consistency,
    latent_ambiguity,
    latent_divergence,
    super_resolve,
)
from course_lib.inference.in_tiles import InTiles
from course_lib.inference.keep_intact import keep_intact
from course_lib.inference.laplace import Laplace, laplace
from course_lib.inference.latent_sampling import sample_images, sample_latents
from course_lib.inference.linear_gaussian import LinearGaussian, matrix_of
from course_lib.inference.map_latent import Pushforward, conditional_mean, map_xz, map_z
from course_lib.inference.posterior_reference import grid_posterior, label_posterior
from course_lib.inference.singan import fit_singan, harmonise, singan_enlarge
from course_lib.inference.tiling import tiled
from course_lib.inference.vble import VBLE, VariationalPosterior

__all__ = [
    "VBLE",
    "Chains",
    "InTiles",
    "JointHessian",
    "Laplace",
    "LinearGaussian",
    "Phase",
    "Pushforward",
    "VariationalPosterior",
    "bicubic_downsampling",
    "blind_deconvolution",
    "blind_richardson_lucy",
    "coarse_to_fine",
    "conditional_mean",
    "consistency_projection",
    "deconvolve",
    "deep_generative_prior",
    "deep_image_prior",
    "draw_images",
    "effective_sample_size",
    "expected_consistency",
    "fit_singan",
    "grid_posterior",
    "hamiltonian_monte_carlo",
    "harmonise",
    "impedance",
    "keep_intact",
    "label_posterior",
    "laplace",
    "latent_ambiguity",
    "latent_divergence",
    "map_xz",
    "map_z",
    "matrix_of",
    "profile",
    "sample_images",
    "sample_latents",
    "singan_enlarge",
    "split_r_hat",
    "super_resolve",
    "tiled",
]
