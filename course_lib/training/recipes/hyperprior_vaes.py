"""VAEs of photographs with a hyperprior, at two rates."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import mse_loss

from course_lib.metrics import psnr
from course_lib.models.hyperprior_vae import HyperpriorVAE
from course_lib.models.pretrained import load_pretrained
from course_lib.models.structured_vae import StructuredNormal
from course_lib.models.vae import reparameterise
from course_lib.protocols import Dataset
from course_lib.rng import generator_from
from course_lib.training.objective import Objective
from course_lib.training.recipes.recipe import Figure, Recipe, figures_of
from course_lib.training.settings import Settings

PART = 2  # one image in so many teaches the head of L, which costs as much as half of the rest


class FixedRateElbo(Objective):
    """Minus the ELBO in nats per dimension, with the noise level s of the decoder held fixed.

    s is the price of an error against that of a latent, so it sets the rate. L describes what G
    leaves out: its head learns beside the rest, from features that are taken as given, and changes
    nothing else.
    """

    def __init__(self, model: HyperpriorVAE, held_out: Tensor) -> None:
        self.model, self.held_out = model, held_out
        model.head.last.state_dict()["bias"][:1] = -model.noise_std.log()

    def loss(
        self, player: str, batch: Tensor, *, done: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """-log N(x; G(z), s^2 I) + KL(q || p), plus the misfit of L."""
        vae, n = self.model, batch[0].numel()
        q = vae.encode(batch)
        rates = vae.rates(q, generator=generator)
        mean, *features = vae.decoder.features(reparameterise(q, generator))
        mse = mse_loss(mean, batch)
        s = vae.noise_std
        loss = 0.5 * mse / s**2 + s.log() + 0.5 * math.log(2 * math.pi)
        loss = loss + (rates.h.mean() + rates.z.mean()) / n
        drawn, *read = (part[::PART].detach() for part in (mean, *features))
        misfit = -StructuredNormal(drawn, vae.head(drawn, *read)).log_prob(batch[::PART]).mean()
        figures = {
            "rmse": mse.detach().sqrt(),
            "rate_h": rates.h.detach().mean(),
            "rate_z": rates.z.detach().mean(),
            "misfit": misfit.detach(),
        }
        return loss + misfit, figures

    @torch.no_grad()
    def preview(self, model: HyperpriorVAE) -> Tensor:
        """Eight held-out images, G(m(x)), and 16 samples of the prior."""
        x, generator = self.held_out[:8], generator_from(0)
        return torch.cat([x, model.reconstruct(x), model.sample(16, generator=generator)])


@torch.no_grad()
def evaluate(vae: HyperpriorVAE, held_out: Dataset) -> dict[str, Figure]:
    """Reconstruction, rates, and bounds of log p(x) with white noise and with L."""
    x = held_out[torch.arange(len(held_out))]
    n, generator, rows = x[0].numel(), generator_from(0), []
    for part in x.split(50):
        q = vae.encode(part)
        rates = vae.rates(q, generator=generator)
        given_z = vae.decode(reparameterise(q, generator))
        white = torch.distributions.Normal(given_z.mean, vae.noise_std)
        price = rates.h + rates.z
        grain = given_z.sample(generator) - given_z.mean
        rows.append(
            torch.stack(
                [
                    psnr(vae.reconstruct(part), part),
                    rates.h,
                    rates.z,
                    (white.log_prob(part).flatten(1).sum(1) - price) / n,
                    (given_z.log_prob(part).flatten(1).sum(1) - price) / n,
                    (given_z.mean - part).square().flatten(1).mean(1),
                    grain.abs().flatten(1).amax(1),
                ],
                dim=1,
            )
        )
    table = torch.cat(rows)
    mean = table.mean(0).tolist()
    found = {
        "reconstruction": (mean[0], "dB"),
        "reconstruction_interval": (1.96 * (table[:, 0].std() / len(x) ** 0.5).item(), "dB, 95 %"),
        "rate_h": (mean[1], "nats per image"),
        "rate_z": (mean[2], "nats per image"),
        "bits": ((mean[1] + mean[2]) / n / math.log(2), "bits per pixel"),
        "elbo_white": (mean[3], "nats per dimension"),
        "elbo": (mean[4], "nats per dimension"),
        "residual": (mean[5] ** 0.5, "root mean square, one draw of z"),
        "largest_residual_drawn": (table[:, 6].quantile(0.9).item(), "9 of 10 draws"),
        "latents": (math.prod(vae.latent_shape) + math.prod(vae.hyper_shape), ""),
        "noise_std": (vae.noise_std.item(), ""),
    }
    return figures_of(found, len(x))


def hyperprior_recipe(
    name: str, words: str, *, noise_std: float, settings: Settings, **changes: Any
) -> Recipe:
    """A recipe; `noise_std` sets the rate, `changes` are fields of Recipe."""
    return Recipe(
        name=name,
        description=f"VAE of grey photographs with a hyperprior, {words}",
        architecture="hyperprior_vae",
        arguments={"noise_std": noise_std},
        data="bsds500",
        n_images=60_000,
        held_out=("bsds500_each", 100),
        objective=FixedRateElbo,
        evaluate=evaluate,
        settings=settings,
        **changes,
    )


def start_from(name: str) -> Callable[[HyperpriorVAE], None]:
    """Take the weights of another rate, but keep the noise level."""

    def start(model: HyperpriorVAE) -> None:
        noise_std = model.noise_std.clone()
        model.load_state_dict(load_pretrained(name).state_dict())
        model.noise_std.copy_(noise_std)

    return start


HYPERPRIOR_RECIPES = [
    hyperprior_recipe(
        "hyperprior_photos64",
        "higher rate: decoder noise 0.03",
        noise_std=0.03,
        settings=Settings(steps=11_000, batch_size=16, clip_norm=5.0),
    ),
    hyperprior_recipe(
        "hyperprior_photos64_low",
        "lower rate: decoder noise 0.06",
        noise_std=0.06,
        settings=Settings(steps=4000, batch_size=16, clip_norm=5.0),
        start=start_from("hyperprior_photos64"),
    ),
]
