"""Variational autoencoders of the three worlds."""

import math
from typing import Any

import torch

from course_lib.metrics import psnr
from course_lib.models.vae import VAE
from course_lib.protocols import Dataset
from course_lib.rng import generator_from
from course_lib.training.elbo import NegativeElbo
from course_lib.training.recipes.recipe import Figure, Recipe, figures_of, images_of
from course_lib.training.settings import Settings


@torch.no_grad()
def evaluate(vae: VAE, held_out: Dataset) -> dict[str, Figure]:
    """Reconstruction, ELBO, rate and active latents over the held-out set."""
    x = held_out[torch.arange(len(held_out))]
    parts = x.split(64)
    generator = generator_from(0)
    reconstructions = torch.cat([vae.reconstruct(part) for part in parts])
    elbos = [vae.elbo(part, generator=generator) for part in parts]
    value = torch.cat([elbo.value for elbo in elbos]).mean() / x[0].numel()
    nats = torch.cat([elbo.rate for elbo in elbos]).mean()
    found = {
        "reconstruction": (psnr(reconstructions, x).mean().item(), "dB"),
        "elbo": (value.item(), "nats per dimension"),
        "rate": (nats.item(), "nats per image"),
        "active_latents": (vae.active_latents(x), ""),
        "latents": (math.prod(vae.latent_shape), ""),
        "noise_std": (vae.noise_std.item(), ""),
    }
    return figures_of(found, len(x))


def vae_recipe(name: str, description: str, **changes: Any) -> Recipe:
    """A VAE recipe; `changes` are fields of Recipe, and `noise_floor`."""
    floor = changes.pop("noise_floor", 0.0)
    return Recipe(
        name=name,
        description=description,
        objective=lambda model, held_out: NegativeElbo(model, held_out, noise_floor=floor),
        evaluate=evaluate,
        **changes,
    )


VAE_RECIPES = [
    vae_recipe(
        "vae_photos64",
        "Fully convolutional VAE of grey photographs, any multiple of 8 pixels",
        architecture="conv_vae",
        arguments={"channels": [32, 64, 96], "latent_channels": 32, "tail": 24},
        data="bsds500",
        n_images=60_000,
        held_out=("bsds500_each", 100),
        settings=Settings(steps=7000, batch_size=16),
    ),
    vae_recipe(
        "vae_plates64",
        "Fully convolutional VAE of plates",
        architecture="conv_vae",
        arguments={"channels": [32, 64, 96], "latent_channels": 16},
        **images_of("plates", 512),
        settings=Settings(steps=3500, batch_size=16),
    ),
    vae_recipe(
        "vae_portraits64",
        "Fully convolutional VAE of portraits",
        architecture="conv_vae",
        arguments={"channels": [32, 64, 96], "latent_channels": 16},
        **images_of("portraits", 512),
        settings=Settings(steps=3500, batch_size=16),
    ),
    vae_recipe(
        "vae_plates64_compact",
        "VAE of plates with one latent vector of 32 numbers, decoder noise 0.08 at least",
        architecture="compact_vae",
        arguments={"channels": [32, 64, 96], "latent_dim": 32, "width": 512},
        **images_of("plates", 512),
        noise_floor=0.08,
        settings=Settings(steps=6500, batch_size=16),
    ),
    vae_recipe(
        "vae_portraits64_compact",
        "VAE of portraits with one latent vector of 48 numbers",
        architecture="compact_vae",
        arguments={"channels": [32, 64, 96], "latent_dim": 48, "width": 512},
        **images_of("portraits", 512),
        settings=Settings(steps=5000, batch_size=16),
    ),
]
