"""Generative adversarial networks of plates and portraits."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import softplus

from course_lib.data.views import Labelled
from course_lib.inference import Starts, map_z
from course_lib.metrics import average_pairwise_distance, psnr
from course_lib.models.gan import GAN
from course_lib.models.reading import read_samples
from course_lib.operators import Denoising
from course_lib.protocols import Batch, Dataset
from course_lib.rng import generator_from
from course_lib.solvers import LBFGS
from course_lib.training.objective import Objective
from course_lib.training.recipes.recipe import Figure, Recipe, images_of
from course_lib.training.settings import Settings

INVERTED = 16  # held-out images that are looked for in the range
INVERSION = {
    "sigma": 0.02,
    "starts": Starts(8, first="prior"),
    "optimiser": LBFGS(max_iter=150),
}


class RelativisticGame(Objective):
    """Each real image is compared with one drawn image: who looks more real, and by how much?

    The discriminator minimises softplus(D(G(z)) - D(x)), the generator softplus(D(x) - D(G(z))).
    A generator that draws one perfect image gains nothing where real images of other kinds score
    as high: in theory no bad local minimum is left in which modes are dropped. The discriminator
    also pays penalty / 2 |grad D|^2, at real images (R1) and at drawn ones (R2), without which the
    game does not converge even near its end. The penalty is the costly part (a derivative of a
    derivative), so that it is estimated on an eighth of the batch.

    Source: Jolicoeur-Martineau 2019, arXiv:1807.00734; Mescheder, Geiger & Nowozin 2018,
    arXiv:1801.04406 (penalties); Huang, Gokaslan, Kuleshov & Tompkin 2024, arXiv:2501.05441.
    """

    def __init__(self, model: GAN, _: Tensor, *, penalty: float = 0.05) -> None:
        self.model, self.penalty = model, penalty

    def players(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """The two networks, in the order of their updates."""
        return {
            "discriminator": list(self.model.discriminator.parameters()),
            "generator": list(self.model.generator.parameters()),
        }

    def loss(
        self, player: str, batch: Batch, *, done: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """softplus of the gap D(x) - D(G(z)), with the player's sign, and the penalties."""
        x, label = batch if isinstance(batch, tuple) else (batch, None)
        z = self.model.prior(len(x), generator=generator)
        with torch.set_grad_enabled(player == "generator"):
            drawn = self.model.decode(z, label).mean
        gap = self.model.discriminate(x, label) - self.model.discriminate(drawn, label)
        if player == "generator":
            return softplus(gap).mean(), {}
        few = slice(max(1, len(x) // 8))
        slope = squared_slope(self.model, x[few], None if label is None else label[few])
        slope = slope + squared_slope(self.model, drawn[few], None if label is None else label[few])
        return softplus(-gap).mean() + self.penalty / 2 * slope, {"gap": gap.detach().mean()}


def squared_slope(model: GAN, x: Tensor, label: Tensor | None) -> Tensor:
    """|grad D|^2, averaged over images; in float32, for small differences of large numbers."""
    x = x.detach().requires_grad_()
    with torch.autocast(x.device.type, enabled=False):
        logits = model.discriminate(x, label)
        (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return slope.square().sum((1, 2, 3)).mean()


def evaluate(gan: GAN, held_out: Dataset) -> dict[str, Figure]:
    """Diversity of samples beside that of the data, and how near the range comes to real images."""
    batch = held_out[torch.arange(len(held_out))]
    x, label = batch if isinstance(batch, tuple) else (batch, None)
    with torch.no_grad():
        samples = gan.sample(len(x), generator=generator_from(0), label=label)
    spread = average_pairwise_distance(samples) / average_pairwise_distance(x)
    figures = {"spread": Figure(spread.item(), "of the spread of the data", "samples", len(x))}
    if label is None:
        few = x[:INVERTED]
        found = map_z(
            gan,
            Denoising(gan.img_size),
            few,
            generator=generator_from(1),
            **INVERSION,
        )
        value = psnr(found.x, few).mean().item()
        figures["inversion"] = Figure(
            value, "dB", f"held-out images, {INVERSION['starts'].n} starts", len(few)
        )
    return figures


def evaluate_plates(gan: GAN, held_out: Dataset) -> dict[str, Figure]:
    """The same, and what a reader of plates makes of the samples."""
    labels = held_out[torch.arange(len(held_out))][1] if gan.classes else None
    with torch.no_grad():
        samples = gan.sample(len(held_out), generator=generator_from(0), label=labels)
    read = read_samples(samples)
    data, n = "samples", len(samples)
    figures = evaluate(gan, held_out) | {
        "readable": Figure(read.readable, "", f"{data}, reader above 0.9", n),
        "characters": Figure(read.characters, "of 36", f"readable {data}", n),
        "entropy": Figure(read.entropy, "nats, of 3.58", f"readable {data}", n),
    }
    if labels is not None:
        right = (read.character == labels).float().mean().item()
        figures["right_character"] = Figure(right, "", data, n)
    return figures


def gan_recipe(name: str, description: str, **changes: Any) -> Recipe:
    """A GAN recipe; `changes` are fields of Recipe."""
    changes.setdefault("evaluate", evaluate)
    return Recipe(
        name=name,
        description=description,
        architecture="GAN",
        objective=RelativisticGame,
        **changes,
    )


def settings(steps: int) -> Settings:
    """No momentum: the other player moves the goal. The averaged generator is the one to use."""
    return Settings(
        steps=steps,
        batch_size=32,
        learning_rate=3e-4,
        betas=(0.0, 0.99),
        weight_decay=0.0,
        clip_norm=math.inf,
        ema_decay=0.999,
    )


GAN_RECIPES = [
    gan_recipe(
        "gan_plates64",
        "GAN of plates",
        arguments={"latent_dim": 64},
        **images_of("plates", 2000),
        settings=settings(8000),
        evaluate=evaluate_plates,
    ),
    gan_recipe(
        "gan_portraits64",
        "GAN of portraits",
        arguments={"latent_dim": 64},
        **images_of("portraits", 512),
        settings=settings(5000),
    ),
    gan_recipe(
        "gan_portraits64_colour",
        "GAN of portraits in colour",
        arguments={"latent_dim": 64, "image_channels": 3},
        data="portraits_colour",
        n_images=7168,
        held_out=("portraits_colour", 256),
        settings=settings(1000),
    ),
    gan_recipe(
        "gan_plates64_conditional",
        "GAN of plates that is told which character to draw",
        arguments={"latent_dim": 64, "classes": 36},
        **images_of("plates", 2000),
        settings=settings(2000),
        evaluate=evaluate_plates,
        left_out=("discriminator",),
        prepare=Labelled,
    ),
]
