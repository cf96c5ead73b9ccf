"""Encoders that tell the first latents of a hierarchical VAE from a measurement."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from course_lib.inference import latent_divergence, super_resolve
from course_lib.metrics import average_pairwise_distance, lr_psnr, psnr
from course_lib.models.hvae import HVAE
from course_lib.models.measurement_encoder import MeasurementEncoder
from course_lib.models.pretrained import load_pretrained
from course_lib.operators import (
    GaussianNoise,
    LinearOperator,
    bicubic_downsampling,
    central_hole,
)
from course_lib.protocols import Dataset
from course_lib.rng import generator_from
from course_lib.training.objective import Objective
from course_lib.training.recipes.hvaes import GROUPS
from course_lib.training.recipes.recipe import Figure, Recipe, figures_of, images_of
from course_lib.training.settings import Settings

IMG_SIZE = (1, 64, 64)
SIDES = [1] * 10 + [8] * 2 + [16]  # of the groups of both priors


class LatentDivergence(Objective):
    """KL between the posteriors of z_<k given the image and given its measurement, in nats.

    The prior is frozen, and not a part of what is saved.
    """

    def __init__(
        self, model: MeasurementEncoder, held_out: Tensor, *, prior: str, op: LinearOperator
    ) -> None:
        self.model, self.held_out, self.op = model, held_out, op
        self.hvae = load_pretrained(prior, held_out.device)

    def loss(
        self, player: str, batch: Tensor, *, done: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum over groups of KL(q(z_l | x) || q(z_l | y)), averaged over images, in nats."""
        with torch.autocast(batch.device.type, enabled=False):
            y = self.op(batch, generator=generator)
        nats = latent_divergence(self.hvae, self.model, batch, y, generator=generator).mean(0)
        figures = {f"group_{index}": part for index, part in enumerate(nats.detach())}
        return nats.sum(), figures

    def preview(self, model: MeasurementEncoder) -> Tensor:
        """Eight held-out images, what was measured of them, and five draws for each."""
        shown = self.held_out[:8]
        y = self.op(shown, generator=generator_from(1))
        noiseless = self.op.noise_model is None
        drawn = super_resolve(
            self.hvae, model, y, 5, 1.0, noiseless, op=self.op, generator=generator_from(0)
        )
        return torch.cat([shown, self.op.A_dagger(y), *drawn])


def evaluator(
    prior: str, op: LinearOperator
) -> Callable[[MeasurementEncoder, Dataset], dict[str, Figure]]:
    """Divergence on held-out images; fidelity, consistency and diversity of four draws each."""

    @torch.no_grad()
    def evaluate(model: MeasurementEncoder, held_out: Dataset) -> dict[str, Figure]:
        hvae = load_pretrained(prior)
        x = held_out[torch.arange(len(held_out))]
        y = op(x, generator=generator_from(1))
        nats = latent_divergence(hvae, model, x, y, generator=generator_from(0))
        drawn = super_resolve(
            hvae, model, y, 4, consistent=False, op=op, generator=generator_from(0)
        )
        found = {
            "divergence": (nats.sum(1).mean().item(), "nats per image"),
            "groups": (model.k, f"of {len(hvae.sides)}"),
            "psnr": (psnr(drawn[0], x).mean().item(), "dB, one draw, not projected"),
            "lr_psnr": (lr_psnr(drawn[0], y, op.A).mean().item(), "dB, one draw, not projected"),
            "diversity": (
                average_pairwise_distance(drawn).mean().item(),
                "mean square, 4 draws",
            ),
        }
        return figures_of(found, len(x))

    return evaluate


def start_from_prior(model: MeasurementEncoder, hvae: HVAE) -> None:
    """Where the measurement has the size of the image, maps begin as those of the image."""
    if model.measurement_size == hvae.img_size:
        stages = hvae.encoder.get_submodule("stages")
        model.encoder.get_submodule("stages").load_state_dict(stages.state_dict())


def encoder_recipe(
    name: str,
    description: str,
    op: LinearOperator,
    *,
    world: str,
    k: int,
    steps: int,
    **form: Any,
) -> Recipe:
    """An encoder for one operator; k is the number of groups that it tells."""
    prior = f"hvae_{world}64"
    return Recipe(
        name=name,
        description=description,
        architecture="measurement_encoder",
        arguments={
            "measurement_size": list(op.measurement_size),
            "sides": SIDES[:k],
            "latents": GROUPS[world],
            **form,
        },
        **images_of(world, 256),
        objective=lambda model, held_out: LatentDivergence(model, held_out, prior=prior, op=op),
        evaluate=evaluator(prior, op),
        settings=Settings(steps=steps, batch_size=32, clip_norm=100.0),
        start=lambda model: start_from_prior(model, load_pretrained(prior)),
    )


# Of a small measurement the first stage keeps the resolution.
SLIM = {"maps": 8, "middle": 32, "k": 12}
AT_16 = {"channels": [64, 96], "halves": [False, True], **SLIM}
AT_8 = {"channels": [96], "halves": [False], **SLIM}
AT_4 = {"channels": [96], "halves": [False], "maps": 8, "k": 10}
AT_64 = {"channels": [32, 64, 96], "halves": [True, True, True], **SLIM}

ENCODER_RECIPES = [
    *(
        encoder_recipe(
            f"encoder_portraits64_x{factor}",
            f"Latents of hvae_portraits64 from portraits at 1/{factor} of their resolution",
            bicubic_downsampling(IMG_SIZE, factor),
            world="portraits",
            steps=3000,
            **form,
        )
        for factor, form in ((4, AT_16), (8, AT_8), (16, AT_4))
    ),
    encoder_recipe(
        "encoder_portraits64_hole",
        "Latents of hvae_portraits64 from portraits without the middle of the face",
        central_hole(IMG_SIZE, 24),
        world="portraits",
        steps=3000,
        **AT_64,
    ),
    *(
        encoder_recipe(
            f"encoder_plates64_x{factor}",
            f"Latents of hvae_plates64 from plates at 1/{factor}, noise {sigma}",
            bicubic_downsampling(IMG_SIZE, factor, GaussianNoise(sigma)),
            world="plates",
            steps=3000,
            **form,
        )
        for factor, sigma, form in ((8, 0.05, AT_8), (16, 0.1, AT_4))
    ),
]
