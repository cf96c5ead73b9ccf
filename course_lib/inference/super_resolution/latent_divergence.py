"""Divergence between the latents of an image and those of its measurement."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.distributions import Normal, kl_divergence

from course_lib.inference.super_resolution.super_resolve import LatentEncoder
from course_lib.models.hvae import HVAE
from course_lib.models.vae import reparameterise
from course_lib.rng import check_generator


def latent_divergence(
    hvae: HVAE,
    encoder: LatentEncoder,
    x: Float[Tensor, "b c h w"],
    y: Tensor,
    *,
    generator: Generator,
    reduction: Literal["sum", "mean"] = "sum",
) -> Float[Tensor, "b k"]:
    """KL(q(z_l | z_<l, x) || q(z_l | z_<l, y)) of the first k groups: what training minimises.

    z is drawn from the posterior of the image, and both distributions are conditioned on the same
    z_<l. Summed over the groups, and averaged over images and their measurements, it is the
    divergence between the posteriors of z_<k given x and given y; its least value is the
    information I(z_<k; x | y), which is not zero. Gradients reach the encoder only.

    Args:
        hvae: prior, which stays as it is.
        encoder: encoder of measurements.
        x: images.
        y: their measurements.
        generator: source of the draws.
        reduction: "sum" over the latents of a group, in nats, or their "mean", the form of the
            authors' released code, which makes a latent of a fine group cheaper than one of a
            coarse group.

    Source: Prost et al. 2024, arXiv:2205.10347, equation 10.
    """
    check_generator("latent_divergence", generator)
    with torch.no_grad():
        of_image = hvae.features(x)
    of_measurement = encoder.features(y)
    divergences = []

    def draw(index: int, state: Tensor, prior: Normal) -> Tensor:
        group = hvae.decoder.dec_blocks[index]
        given_x = group.posterior(state, of_image[group.side], prior)
        with torch.enable_grad():
            given_y = encoder.posterior(index, state, of_measurement, prior)
            nats = kl_divergence(given_x, given_y).flatten(1)
            divergences.append(nats.sum(1) if reduction == "sum" else nats.mean(1))
        return reparameterise(given_x, generator)

    with torch.no_grad():
        hvae.decoder.descend(draw, len(x), stop=encoder.k)
    return torch.stack(divergences, 1)
