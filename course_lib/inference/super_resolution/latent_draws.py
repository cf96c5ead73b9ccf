"""Draws of the latents that a measurement determines."""

import torch
from torch import Generator, Tensor
from torch.distributions import Normal

from course_lib.inference.super_resolution.super_resolve import LatentEncoder
from course_lib.models.hvae import HVAE
from course_lib.models.vae import reparameterise
from course_lib.rng import check_generator


@torch.no_grad()
def draw_latents(
    hvae: HVAE, encoder: LatentEncoder, y: Tensor, *, generator: Generator
) -> list[Tensor]:
    """One draw of z_<k ~ q(z_<k | y) for each measurement, group by group.

    Args:
        hvae: prior, whose decoder turns the groups drawn so far into the state of the next.
        encoder: q(z_l | z_<l, y).
        y: measurements, (B, *measurement_size).
        generator: source of the draws.
    """
    check_generator("draw_latents", generator)
    features, latents = encoder.features(y), []

    def draw(index: int, state: Tensor, prior: Normal) -> Tensor:
        q = encoder.posterior(index, state, features, prior)
        latents.append(reparameterise(q, generator))
        return latents[-1]

    hvae.decoder.descend(draw, len(y), stop=encoder.k)
    return latents
