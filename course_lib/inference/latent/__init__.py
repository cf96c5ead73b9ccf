"""Inference over the latent of a generator."""

from course_lib.inference.latent.conditional_mean import conditional_mean
from course_lib.inference.latent.deep_generative_prior import (
    BestDraw,
    Penalties,
    Phase,
    Progression,
    deep_generative_prior,
)
from course_lib.inference.latent.effective_noise import effective_noise
from course_lib.inference.latent.energy import (
    JointEnergy,
    LatentEnergy,
    MarginalPosterior,
    bora_weight,
)
from course_lib.inference.latent.generator import LatentGenerator, Pushforward
from course_lib.inference.latent.laplace import Laplace, laplace
from course_lib.inference.latent.map_xz import Sweeps, map_xz
from course_lib.inference.latent.map_z import LatentSolution, map_z
from course_lib.inference.latent.start import Starts, first_guess, smooth_guess

__all__ = [
    "BestDraw",
    "JointEnergy",
    "Laplace",
    "LatentEnergy",
    "LatentGenerator",
    "LatentSolution",
    "MarginalPosterior",
    "Penalties",
    "Phase",
    "Progression",
    "Pushforward",
    "Starts",
    "Sweeps",
    "bora_weight",
    "conditional_mean",
    "deep_generative_prior",
    "effective_noise",
    "first_guess",
    "laplace",
    "map_xz",
    "map_z",
    "smooth_guess",
]
