"""The reader of plates: the posterior over characters, learned from endless examples."""

import torch
from torch import Generator, LongTensor, Tensor
from torch.nn.functional import nll_loss

from course_lib.models.classifier import PlateReader
from course_lib.operators import Downsampling, bicubic_kernel, wrap_kernel
from course_lib.random import generator_from, normal_like
from course_lib.training.loop import Dataset, Objective, Settings
from course_lib.training.recipes.recipe import Figure, Recipe

FACTORS = (1, 2, 4, 8, 16)
LARGEST_NOISE = 0.2


class Labelled:
    """A set of images that hands out its labels too."""

    def __init__(self, images: Dataset) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: LongTensor) -> tuple[Tensor, Tensor]:
        return self.images[index], self.images.labels[index]


def sensor(factor: int, size: int) -> Downsampling:
    """x1 / factor with the bicubic prefilter: what every chapter calls a low resolution."""
    kernel = wrap_kernel(bicubic_kernel(factor), (size, size)) if factor > 1 else None
    return Downsampling((1, size, size), factor, kernel=kernel)


class CrossEntropy(Objective):
    """Nats that the reader needs for the true character, over resolutions and noise levels."""

    def __init__(self, model: PlateReader, held_out: Tensor) -> None:
        self.model = model
        self.sensors = [sensor(factor, model.img_size) for factor in FACTORS]

    def loss(
        self, player: str, batch: tuple[Tensor, Tensor], *, progress: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        x, character = batch
        choice = torch.randint(len(self.sensors), (1,), generator=generator).item()
        y = self.sensors[choice].A(x)
        sigma = LARGEST_NOISE * torch.rand(len(x), generator=generator).to(x) ** 2
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
        clean = sensor(factor, reader.img_size).A(x)
        y = clean + sigma * normal_like(clean, generator_from(factor))
        log_p = torch.cat([reader(part, sigma) for part in y.split(256)])
        right = (log_p.argmax(1) == character).float().mean().item()
        data = f"{len(x)} held-out plates, x{factor}, noise {sigma}"
        label = f"x{factor}_noise{sigma}"
        figures[f"accuracy_{label}"] = Figure(right, "1", data)
        figures[f"cross_entropy_{label}"] = Figure(nll_loss(log_p, character).item(), "nats", data)
    return figures


CLASSIFIER_RECIPES = [
    Recipe(
        name="classifier_plates",
        description="Reader of plates: log p(character | y) at resolutions 1/1 to 1/16",
        architecture="PlateReader",
        arguments={"channels": [32, 64, 96, 128]},
        data="plates",
        n_images=64_000,
        held_out=("plates", 2000),
        objective=CrossEntropy,
        evaluate=evaluate,
        settings=Settings(steps=2500, batch_size=64),
        prepare=Labelled,
    )
]
