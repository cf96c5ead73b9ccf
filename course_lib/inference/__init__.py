"""Where prior, operator and solver meet: one method a file."""

from course_lib.inference.blind_deconvolution import (
    DenoiserPotential,
    JointHessian,
    Stage,
    blind_deconvolution,
    blind_richardson_lucy,
    coarse_to_fine,
    deconvolve,
    profile,
)
from course_lib.inference.latent.deep_generative_prior import Phase, deep_generative_prior
from course_lib.inference.latent.laplace import Laplace, laplace
from course_lib.inference.latent.map_latent import Pushforward, conditional_mean, map_xz, map_z
from course_lib.inference.sampling.diagnostics import effective_sample_size, split_r_hat
from course_lib.inference.sampling.hamiltonian import Chains, hamiltonian_monte_carlo
from course_lib.inference.sampling.latent import sample_images, sample_latents
from course_lib.inference.super_resolution import (
    consistency_projection,
    draw_images,
    expected_consistency,
    latent_ambiguity,
    latent_divergence,
    super_resolve,
)
from course_lib.inference.untrained.deep_image_prior import deep_image_prior, impedance
from course_lib.inference.untrained.singan import fit_singan, harmonise, singan_enlarge
from course_lib.inference.vble.vble import VBLE, VariationalPosterior

__all__ = [
    "VBLE",
    "Chains",
    "DenoiserPotential",
    "JointHessian",
    "Laplace",
    "Phase",
    "Pushforward",
    "VariationalPosterior",
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
    "hamiltonian_monte_carlo",
    "harmonise",
    "impedance",
    "laplace",
    "latent_ambiguity",
    "latent_divergence",
    "map_xz",
    "map_z",
    "profile",
    "sample_images",
    "sample_latents",
    "singan_enlarge",
    "split_r_hat",
    "super_resolve",
]
