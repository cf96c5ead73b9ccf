"""What a super-resolution by samples is compared with: a conditional flow, and a regression."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import mse_loss

from course_lib.metrics import average_pairwise_distance, lr_psnr, psnr
from course_lib.models.flow import SuperResolutionFlow
from course_lib.models.srresnet import SRResNet
from course_lib.random import generator_from
from course_lib.training.loop import Dataset, Objective, Settings
from course_lib.training.recipes.classifier import sensor
from course_lib.training.recipes.recipe import Figure, Recipe

FACTORS = (4, 8, 16)
TEMPERATURE = 0.8  # at which the source samples faces
SAMPLES = 8  # of each held-out image
WIDE_STD = 0.05  # of the low-resolution term when training starts


class NegativeLogLikelihood(Objective):
    """-log p(x | y) in nats per dimension, averaged over the factors of the flow.

    All factors come out of one pass. The width of the low-resolution term falls from `WIDE_STD` to
    the model's over the first half: a term that is narrow from the start drowns all the others.
    """

    def __init__(self, model: SuperResolutionFlow, held_out: Tensor) -> None:
        self.model, self.held_out = model, held_out
        self.sensors = [sensor(factor, held_out) for factor in model.factors]
        model.initialise(held_out)  # not from the first batch: each process has another one

    def loss(
        self, player: str, batch: Tensor, *, progress: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        std = low_std(progress)
        noise = torch.rand(batch.shape, generator=generator, device=generator.device)
        x = batch + (noise.to(batch) - 0.5) / 255  # a density needs values between the grey levels
        nats, error = [], []
        for (low, details), camera in zip(self.model.densities(x), self.sensors, strict=True):
            y = camera.A(batch)
            error.append(mse_loss(low, y))
            nats.append(-details.mean() + low[0].numel() * gaussian_nats(error[-1], std))
        loss = torch.stack(nats).mean() / batch[0].numel()
        return loss, {"low_rmse": torch.stack(error).detach().sqrt().mean()}

    def preview(self, model: SuperResolutionFlow) -> Tensor:
        """Eight held-out images; for each factor y, large pixels, and two samples."""
        return torch.cat([self.held_out[:8], *(shown(model, self.held_out[:8], f) for f in FACTORS)])
