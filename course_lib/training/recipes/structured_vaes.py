"""Structured decoders on the frozen VAEs of portraits and photographs."""

import math
from typing import Any

import torch
from torch import Generator, Tensor

from course_lib.models.pretrained import load_pretrained
from course_lib.models.structured_vae import StructuredVAE
from course_lib.models.vae import gaussian, reparameterise
from course_lib.protocols import Dataset
from course_lib.rng import generator_from, normal_like
from course_lib.training.objective import Objective
from course_lib.training.recipes.recipe import Figure, Recipe, figures_of, images_of
from course_lib.training.settings import Settings


class ResidualLikelihood(Objective):
    """-E log p(x | z) with z ~ q(z | x), nats per dimension; only the head of L learns."""

    def __init__(self, model: StructuredVAE, held_out: Tensor, *, base: str) -> None:
        vae = load_pretrained(base)
        for part in ("encoder", "decoder"):
            getattr(model, part).load_state_dict(getattr(vae, part).state_dict())
            getattr(model, part).requires_grad_(False)
        model.noise_std.copy_(vae.noise_std)
        model.head.last.state_dict()["bias"][:1] = -vae.noise_std.log()
        self.model, self.held_out = model, held_out

    def loss(
        self, player: str, batch: Tensor, *, done: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """-log p(x | z) for one z ~ q(z | x), per number."""
        z = reparameterise(self.model.encode(batch), generator)
        return -self.model.decode(z).log_prob(batch).mean(), {}

    def preview(self, model: StructuredVAE) -> Tensor:
        """Eight images, G(z), with white and with structured noise; residuals, threefold."""
        x = self.held_out[:8]
        drawn = model.decode(model.encode(x).mean)
        generator = generator_from(0)
        noise = model.noise_std * normal_like(x, generator)
        structured = [drawn.sample(generator) for _ in range(2)]
        rows = [x, drawn.mean, drawn.mean + noise, *structured]
        residuals = [0.5 + 3 * (other - drawn.mean) for other in (x, structured[0])]
        return torch.cat([*rows, *residuals])


@torch.no_grad()
def evaluate(vae: StructuredVAE, held_out: Dataset) -> dict[str, Figure]:
    """Negative log-likelihood of held-out images given z ~ q(z | x), against isotropic noise."""
    x = held_out[torch.arange(len(held_out))]
    generator, structured, isotropic, worst = generator_from(0), [], [], []
    for part in x.split(64):
        z = reparameterise(vae.encode(part), generator)
        given_z = vae.decode(z)
        structured.append(-given_z.log_prob(part).flatten(1).mean(1))
        isotropic.append(-gaussian(given_z.mean, vae.noise_std).log_prob(part).flatten(1).mean(1))
        drawn = given_z.sample(generator) - given_z.mean
        worst.append(drawn.abs().flatten(1).amax(1))
    structured, isotropic = torch.cat(structured).mean(), torch.cat(isotropic).mean()
    gain = (isotropic - structured) / math.log(2)
    found = {
        "nll": (structured.item(), "nats per dimension"),
        "nll_isotropic": (isotropic.item(), "nats per dimension"),
        "gain": (gain.item(), "bits per dimension"),
        "largest_residual_drawn": (torch.cat(worst).quantile(0.9).item(), "9 of 10 draws"),
    }
    return figures_of(found, len(x))


def structured_recipe(name: str, description: str, *, base: str, **changes: Any) -> Recipe:
    """A head of L on the weights `base`; `changes` are fields of Recipe."""
    steps = 5000 if changes["arguments"]["radius"] else 2500
    changes["settings"] = Settings(steps=steps, batch_size=16, learning_rate=2e-3)
    return Recipe(
        name=name,
        description=description,
        architecture="structured_vae",
        objective=lambda model, held_out: ResidualLikelihood(model, held_out, base=base),
        evaluate=evaluate,
        base=base,
        **changes,
    )


DATA = {
    "portraits": images_of("portraits", 512),
    "photos": {"data": "bsds500", "n_images": 60_000, "held_out": ("bsds500_each", 100)},
}
SIZES = {"portraits": {}, "photos": {"latent_channels": 32, "tail": 24}}

STRUCTURED_VAE_RECIPES = [
    structured_recipe(
        f"{kind}_vae_{world}64",
        f"vae_{world}64 with {noise}",
        base=f"vae_{world}64",
        arguments={"radius": radius, **SIZES[world]},
        **DATA[world],
    )
    for kind, noise, radius in (
        ("structured", "correlated noise, 5 x 5 neighbours", 2),
        ("diagonal", "a variance for each pixel", 0),
    )
    for world in DATA
]
