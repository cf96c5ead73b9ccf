"""Long runs of Markov chains, to judge approximations by."""

from course_lib.inference.sampling.diagnostics import effective_sample_size, split_r_hat
from course_lib.inference.sampling.hamiltonian import Chains, hamiltonian_monte_carlo
from course_lib.inference.sampling.latent import sample_images, sample_latents

__all__ = [
    "Chains",
    "effective_sample_size",
    "hamiltonian_monte_carlo",
    "sample_images",
    "sample_latents",
    "split_r_hat",
]
