"""Denoisers of every noise level, for images of 32 x 32 pixels."""

import math
from typing import Any

import torch
from torch import Generator, Tensor, nn

from course_lib.batch import per_image
from course_lib.data.views import EitherSize, Halved
from course_lib.diffusion import noise_levels, potential, sample
from course_lib.metrics import psnr
from course_lib.models.denoiser import PreconditionedDenoiser
from course_lib.protocols import Dataset
from course_lib.rng import generator_from, normal_like
from course_lib.training.objective import Objective
from course_lib.training.recipes.recipe import Figure, Recipe, images_of
from course_lib.training.settings import Settings

NOISE = (-0.8, 1.5)  # mean and standard deviation of log(sigma / data_std) in training
SIGMA_MAX = 10.0  # where sampling starts: 50 times the deviation of a pixel
LEVELS = (0.02, 0.05, 0.1, 0.2, 0.5)  # of noise, at which the card says how well it is removed
MEASURED = {"samples": 64, "sampling_steps": 24, "potentials": 64, "n_steps": 8}


class DenoisingLoss(Objective):
    """E |F - target|^2 per number: the denoising error, weighted to be alike at all noise levels.

    D - x_0 = c_out (F - target) with c_out = sigma s / sqrt(sigma^2 + s^2), so the weight is
    1 / c_out^2. The levels are log-normal: most are where the eye finds structure in the noise,
    wider than is usual, since a potential needs all levels.

    Source: Vincent 2011, doi:10.1162/NECO_a_00142 (denoising learns the score); Karras et al.
    2022, arXiv:2206.00364, section 5.
    """

    def __init__(self, model: nn.Module, _: Tensor) -> None:
        self.model = model

    def loss(
        self, player: str, batch: Tensor, *, done: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """(1 / sigma^2 + 1 / s^2) |D(x + sigma e, sigma) - x|^2, per number."""
        mean, std = NOISE
        draw = normal_like(batch[:, 0, 0, 0], generator)
        sigma = self.model.data_std * (mean + std * draw).exp()
        noisy = batch + per_image(sigma, batch) * normal_like(batch, generator)
        error = (self.model(noisy, sigma) - batch).square().mean((1, 2, 3))
        weight = 1 / sigma.square() + 1 / self.model.data_std**2
        return (weight * error).mean(), {"mse": error.detach().mean()}

    def preview(self, model: PreconditionedDenoiser) -> Tensor:
        """32 samples."""
        return draw_samples(model, 32)


def draw_samples(model: PreconditionedDenoiser, n: int) -> Tensor:
    """n images by Heun's method, from the noise of seed 0."""
    channels, height, width = model.img_size
    return sample(
        model,
        (n, channels, height, width),
        noise_levels(MEASURED["sampling_steps"], SIGMA_MAX),
        generator=generator_from(0),
        mean=model.data_mean,
        device=next(model.parameters()).device,
    )


def evaluate(model: PreconditionedDenoiser, held_out: Dataset) -> dict[str, Figure]:
    """How well noise is removed, and the potential per dimension, on held-out images."""
    x = held_out[torch.arange(len(held_out))]
    figures = {}
    for sigma in LEVELS:
        noisy = x + sigma * normal_like(x, generator_from(1))
        with torch.no_grad():
            found = torch.cat([model(part, sigma) for part in noisy.split(64)])
        value = psnr(found, x).mean().item()
        figures[f"denoising_{sigma:g}"] = Figure(value, "dB", "held-out images", len(x))
    few, n = x[: MEASURED["potentials"]], x[0].numel()
    few = few + 0.01 * normal_like(few, generator_from(2))
    nats = potential(model, few, MEASURED["n_steps"], 1, generator_from(3), sigma_min=0.01)
    figures["potential"] = Figure(
        nats.mean().item() / n,
        "nats per dimension",
        "held-out images with noise of 0.01",
        len(few),
    )
    return figures


def evaluate_training(
    model: PreconditionedDenoiser, held_out: Dataset, training: Dataset
) -> dict[str, Figure]:
    """Whether samples are copies: their distance to the nearest training image.

    It is compared with that of held-out images, which cannot be copies.
    """
    x = held_out[torch.arange(min(MEASURED["samples"], len(held_out)))]
    samples = draw_samples(model, len(x))
    near, usual = (nearest(images, training) for images in (samples, x))
    words = "of that of held-out images, median"
    return {
        "nearest": Figure((near.median() / usual.median()).item(), words, "samples", len(x)),
        "nearest_least": Figure((near.min() / usual.median()).item(), words, "samples", len(x)),
    }


def nearest(images: Tensor, others: Dataset, batch: int = 4096) -> Tensor:
    """Root mean square distance of each image (B, C, H, W) to the nearest of a set, (B,)."""
    best = torch.full((len(images),), math.inf)
    for index in torch.arange(len(others)).split(batch):
        distances = torch.cdist(images.flatten(1), others[index].flatten(1))
        best = torch.minimum(best, distances.amin(1))
    return best / math.sqrt(images[0].numel())


def diffusion_recipe(
    name: str, description: str, mean: float, std: float, **changes: Any
) -> Recipe:
    """A recipe for 32 x 32 grey images with the measured mean and deviation of a pixel."""
    return Recipe(
        name=name,
        description=description,
        architecture="unet_denoiser",
        arguments={
            "data_mean": mean,
            "data_std": std,
            "channels": [32, 64, 64],
            "blocks": 1,
            "img_size": [1, 32, 32],
        },
        objective=DenoisingLoss,
        evaluate=evaluate,
        evaluate_training=evaluate_training,
        **{"prepare": Halved, **changes},
    )


DIFFUSION_RECIPES = [
    diffusion_recipe(
        "diffusion_photos32",
        "Denoiser of all noise levels for crops of photographs, 32 x 32 and 64 x 64",
        mean=0.441,
        std=0.220,
        data="bsds500",
        n_images=240_000,
        held_out=("bsds500_each", 100),
        prepare=EitherSize,
        # Minutes on a GPU, half a day or more on a CPU core.
        settings=Settings(steps=10_100, batch_size=512),
    ),
    diffusion_recipe(
        "diffusion_plates32",
        "Denoiser of all noise levels for plates, 32 x 32",
        settings=Settings(steps=6000, batch_size=32),
        mean=0.477,
        std=0.210,
        **images_of("plates", 256),
    ),
    diffusion_recipe(
        "diffusion_portraits32",
        "Denoiser of all noise levels for portraits, 32 x 32",
        settings=Settings(steps=8000, batch_size=32),
        mean=0.516,
        std=0.196,
        **images_of("portraits", 256),
    ),
]
