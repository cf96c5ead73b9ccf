"""The reader of plates: the posterior over characters, learned from many examples."""

import torch
from torch import Generator, Tensor
from torch.nn.functional import nll_loss

from course_lib.data.views import Labelled
from course_lib.models.classifier import PlateReader
from course_lib.operators import bicubic_downsampling
from course_lib.protocols import Dataset
from course_lib.rng import generator_from, normal_like
from course_lib.training.objective import Objective
from course_lib.training.recipes.recipe import Figure, Recipe, images_of
from course_lib.training.settings import Settings

FACTORS = (1, 2, 4, 8, 16)
LARGEST_NOISE = 0.2


class CrossEntropy(Objective):
    """Nats that the reader needs for the true character, over resolutions and noise levels."""

    def __init__(self, model: PlateReader, held_out: Tensor) -> None:
        self.model = model
        size, device = held_out.shape[1:], held_out.device
        self.ops = [bicubic_downsampling(size, s, device=device) for s in FACTORS]

    def loss(
        self, player: str, batch: tuple[Tensor, Tensor], *, done: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """-log p(character | A x + sigma e): one A a batch, one sigma = 0.2 u^2 an image."""
        x, character = batch
        place = generator.device
        choice = torch.randint(len(self.ops), (1,), generator=generator, device=place)
        y = self.ops[int(choice)].A(x)
        sigma = LARGEST_NOISE * torch.rand(len(x), generator=generator, device=place) ** 2
        y = y + sigma.view(-1, 1, 1, 1) * normal_like(y, generator)
        log_p = self.model(y, sigma)
        right = (log_p.argmax(1) == character).float().mean()
        return nll_loss(log_p, character), {"accuracy": right.detach()}


@torch.no_grad()
def evaluate(reader: PlateReader, held_out: Dataset) -> dict[str, Figure]:
    """Accuracy and cross-entropy at the resolutions and noise levels that the chapters use."""
    x, character = held_out[torch.arange(len(held_out))]
    figures = {}
    for factor, sigma in ((1, 0.0), (4, 0.01), (8, 0.01), (8, 0.05), (8, 0.1), (16, 0.01)):
        clean = bicubic_downsampling(x.shape[1:], factor).A(x)
        y = clean + sigma * normal_like(clean, generator_from(factor))
        log_p = torch.cat([reader(part, sigma) for part in y.split(256)])
        right = (log_p.argmax(1) == character).float().mean().item()
        data, n = f"held-out plates, x{factor}, noise {sigma}", len(x)
        label = f"x{factor}_noise{sigma}"
        figures[f"accuracy_{label}"] = Figure(right, "", data, n)
        nats = nll_loss(log_p, character).item()
        figures[f"cross_entropy_{label}"] = Figure(nats, "nats", data, n)
    return figures


CLASSIFIER_RECIPES = [
    Recipe(
        name="classifier_plates",
        description="Reader of plates: log p(character | y) at resolutions 1/1 to 1/16",
        architecture="PlateReader",
        arguments={"channels": [32, 64, 96, 128]},
        **images_of("plates", 2000),
        objective=CrossEntropy,
        evaluate=evaluate,
        settings=Settings(steps=2500, batch_size=64),
        prepare=Labelled,
    )
]
