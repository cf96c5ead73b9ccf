"""Variational autoencoders of the three worlds."""

import math

import torch
from torch import Generator, Tensor
from torch.nn.functional import mse_loss

from course_lib.metrics import psnr
from course_lib.models.vae import VAE, rate, reparameterise
from course_lib.rng import generator_from
from course_lib.training.loop import Dataset, Objective, Settings
from course_lib.training.recipes.recipe import Figure, Recipe


class NegativeElbo(Objective):
    """Minus the ELBO in nats per dimension, with the noise level of the decoder kept optimal.

    The best s^2 is the mean squared residual (set the derivative of the ELBO to zero), so it is
    followed, not learned: steps on log s lag behind the decoder. A floor above it makes latents
    dearer, and the prior smoother. The rate is faded in over the first tenth.
    """

    def __init__(self, model: VAE, held_out: Tensor, *, noise_floor: float = 0.0) -> None:
        self.model, self.held_out, self.noise_floor = model, held_out, noise_floor

    def loss(
        self, player: str, batch: Tensor, *, progress: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return negative_elbo(
            self.model, batch, min(1.0, progress / 0.1), generator, self.noise_floor
        )

    def after_step(self, figures: dict[str, float]) -> None:
        follow_residual(self.model, figures["mse"], self.noise_floor)

    def preview(self, model: VAE) -> Tensor:
        """Eight held-out images, their reconstructions, and 16 samples of the prior."""
        shown = self.held_out[:8]
        return torch.cat(
            [shown, model.reconstruct(shown), model.sample(16, generator=generator_from(0))]
        )


def negative_elbo(
    vae: VAE, x: Tensor, beta: float, generator: Generator, noise_floor: float = 0.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Distortion + beta rate, averaged over the batch, in nats per dimension."""
    q = vae.encode(x)
    mse = mse_loss(vae.decode(reparameterise(q, generator)).mean, x)
    nats = rate(q).mean() / x[0].numel()
    # The batch's own residual guards against a running value that is far too small at the start.
    s = torch.maximum(vae.noise_std, 0.75 * mse.detach().sqrt()).clamp(min=max(noise_floor, 1e-3))
    distortion = 0.5 * mse / s**2 + s.log() + 0.5 * math.log(2 * math.pi)
    return distortion + beta * nats, {"mse": mse.detach(), "rate": nats.detach() * x[0].numel()}


def follow_residual(vae: VAE, mse: float, noise_floor: float = 0.0) -> None:
    """Move the noise level a fiftieth of the way to the root mean square residual."""
    if math.isfinite(mse):
        vae.noise_std.lerp_(torch.as_tensor(max(mse**0.5, noise_floor)).to(vae.noise_std), 0.02)


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
    return {
        key: Figure(value, unit, "held-out images", len(x)) for key, (value, unit) in found.items()
    }


def vae_recipe(name: str, description: str, **changes) -> Recipe:
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
        held_out=("photos", 96),
        settings=Settings(steps=7000, batch_size=16),
    ),
    vae_recipe(
        "vae_plates64",
        "Fully convolutional VAE of plates",
        architecture="conv_vae",
        arguments={"channels": [32, 64, 96], "latent_channels": 16},
        data="plates",
        n_images=64_000,
        held_out=("plates", 512),
        settings=Settings(steps=3500, batch_size=16),
    ),
    vae_recipe(
        "vae_portraits64",
        "Fully convolutional VAE of portraits",
        architecture="conv_vae",
        arguments={"channels": [32, 64, 96], "latent_channels": 16},
        data="portraits",
        n_images=10_000,
        held_out=("portraits", 512),
        settings=Settings(steps=3500, batch_size=16),
    ),
    vae_recipe(
        "vae_plates64_compact",
        "VAE of plates with one latent vector of 32 numbers, decoder noise 0.08 at least",
        architecture="compact_vae",
        arguments={"channels": [32, 64, 96], "latent_dim": 32, "width": 512},
        data="plates",
        n_images=64_000,
        held_out=("plates", 512),
        noise_floor=0.08,
        settings=Settings(steps=6500, batch_size=16),
    ),
    vae_recipe(
        "vae_portraits64_compact",
        "VAE of portraits with one latent vector of 48 numbers",
        architecture="compact_vae",
        arguments={"channels": [32, 64, 96], "latent_dim": 48, "width": 512},
        data="portraits",
        n_images=10_000,
        held_out=("portraits", 512),
        settings=Settings(steps=5000, batch_size=16),
    ),
]
