"""Hierarchical VAEs of portraits and plates."""

import torch
from torch import Generator, Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import mse_loss

from course_lib.metrics import psnr
from course_lib.models.hvae import HVAE
from course_lib.models.pretrained import load_pretrained
from course_lib.models.stacked_vae import start_from_vae
from course_lib.models.vae import reparameterise
from course_lib.random import generator_from
from course_lib.training.loop import Dataset, Objective, Settings
from course_lib.training.recipes.recipe import Figure, Recipe

OPENING = {1: 0.0, 8: 0.02, 16: 0.15}  # part of the training after which groups begin to open
TIME_TO_OPEN = 0.1


class CoarseFirst(Objective):
    """Minus the ELBO in nats per dimension, with two departures that decide where bits go.

    Left alone, a hierarchy stores everything in its finest latents, which lie next to the pixels
    and learn fastest. So (1) groups open one after the other, coarse ones first: while a group is
    shut its latents are the mean of its prior, and what it could have said must be said above it.
    And (2) the features and latents are trained with one noise level for all pixels, the root mean
    square residual of the batch, but not less than `noise_floor`: below it lies grain, which is
    not worth a latent. The scale of each pixel, which p(x | z) has, is fitted to the residuals
    alone.
    """

    def __init__(self, model: HVAE, held_out: Tensor, *, noise_floor: float) -> None:
        self.model, self.held_out, self.noise_floor = model, held_out, noise_floor

    def loss(
        self, player: str, batch: Tensor, *, progress: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        features = self.model.features(batch)
        sides, decoder, n = self.model.sides, self.model.decoder, batch[0].numel()
        rates = dict.fromkeys(sides, batch.new_zeros(()))
        priced = batch.new_zeros(())

        def draw(index: int, state: Tensor, prior: Normal) -> Tensor:
            nonlocal priced
            side, open_ = sides[index], openness(sides[index], progress)
            if open_ == 0:
                return prior.mean
            q = decoder.dec_blocks[index].posterior(state, features[side], prior)
            rate = kl_divergence(q, prior).flatten(1).sum(1).mean()
            rates[side] = rates[side] + rate.detach()
            priced = priced + open_ * rate
            return prior.mean + open_ * (reparameterise(q, generator) - prior.mean)

        p = decoder.emit(decoder.descend(draw, len(batch)))
        mse = mse_loss(p.mean, batch)
        s2 = mse.detach().clamp(min=self.noise_floor**2)
        loss = 0.5 * mse / s2 + priced / n
        scale = Normal(p.mean.detach(), p.stddev, validate_args=False)
        distortion = -scale.log_prob(batch).mean()
        figures = {f"rate_{side}": rate for side, rate in rates.items()}
        nats = distortion.detach() + sum(rates.values()) / n
        return loss + distortion, {"mse": mse.detach(), "nats": nats, **figures}

    def preview(self, model: HVAE) -> Tensor:
        """Eight held-out images, reconstructions, and draws at temperatures 1 and 0.7."""
        shown = self.held_out[:8]
        drawn = [model.sample(16, t, generator=generator_from(0)) for t in (1.0, 0.7)]
        return torch.cat([shown, model.reconstruct(shown), *drawn])


def openness(side: int, progress: float) -> float:
    """How far the groups of a side are open, from 0 to 1; those at 1 x 1 always are."""
    return 1.0 if side == 1 else min(1.0, max(0.0, (progress - OPENING[side]) / TIME_TO_OPEN))


@torch.no_grad()
def evaluate(model: HVAE, held_out: Dataset) -> dict[str, Figure]:
    """Nats per dimension, rates by side, reconstruction."""
    x = held_out[torch.arange(len(held_out))]
    generator = generator_from(0)
    reconstructions, values, rates = [], [], []
    for part in x.split(64):
        reconstructions.append(model.reconstruct(part))
        values.append(model.elbo(part, generator=generator).value)
        rates.append(model.encode(part, generator=generator).rates)
    rates = torch.cat(rates).mean(0)
    found = {
        "elbo": (torch.cat(values).mean().item() / x[0].numel(), "nats per dimension"),
        "reconstruction": (psnr(torch.cat(reconstructions), x).mean().item(), "dB"),
        "rate": (rates.sum().item(), "nats per image"),
    }
    for side in sorted(set(model.sides)):
        share = rates[[s == side for s in model.sides]].sum().item()
        found[f"rate_{side}"] = (share, f"nats per image, groups of {side} x {side}")
    return {
        key: Figure(value, unit, "held-out images", len(x)) for key, (value, unit) in found.items()
    }


GROUPS = {
    "portraits": {"1": 12, "8": 8, "16": 4},  # latents by side; those at 1 x 1 add up to 48
    "plates": {"1": 8, "8": 8, "16": 4},  # and to 32
}


def hvae_recipe(world: str, noise_floor: float, **changes) -> Recipe:
    """Four groups at 1 x 1, which begin as the latent of the compact VAE, and finer ones."""
    return Recipe(
        name=f"hvae_{world}64",
        description=f"Hierarchical VAE of {world}, grown out of vae_{world}64_compact",
        architecture="stacked_vae",
        arguments={
            "dec_blocks": "1x4,8m1,8x1,16m8",
            "latents": GROUPS[world],
        },
        data=world,
        held_out=(world, 512),
        objective=lambda model, held_out: CoarseFirst(model, held_out, noise_floor=noise_floor),
        evaluate=evaluate,
        start=lambda model: start_from_vae(model, load_pretrained(f"vae_{world}64_compact")),
        **changes,
    )


HVAE_RECIPES = [
    hvae_recipe("portraits", 0.03, n_images=10_000, settings=Settings(steps=6000, batch_size=16)),
    hvae_recipe("plates", 0.05, n_images=64_000, settings=Settings(steps=6000, batch_size=16)),
]
