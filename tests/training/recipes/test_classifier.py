"""The cross-entropy of the reader of plates, over resolutions and noise levels."""

import torch
from helpers import moved_by_one_step

from course_lib.data.views import Labelled
from course_lib.data.worlds import ImageSet
from course_lib.models import PlateReader
from course_lib.operators import bicubic_downsampling
from course_lib.rng import generator_from
from course_lib.training.recipes.classifier import FACTORS, LARGEST_NOISE, CrossEntropy


def reader() -> PlateReader:
    torch.manual_seed(0)
    return PlateReader(channels=(4, 4), classes=5, img_size=16)


def batch(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(n, 1, 16, 16, generator=generator_from(1)), torch.arange(n) % 5


def test_loss_by_hand():
    """-log p(character | y), y = A x + sigma e: one factor a batch, sigma = 0.2 u^2 an image."""
    model, (x, character) = reader(), batch(6)
    objective = CrossEntropy(model, x)
    seen = set()
    for seed in range(8):
        loss, figures = objective.loss(
            "model", (x, character), done=0.5, generator=generator_from(seed)
        )
        g = generator_from(seed)
        factor = FACTORS[torch.randint(5, (1,), generator=g).item()]
        sigma = LARGEST_NOISE * torch.rand(6, generator=g) ** 2
        y = bicubic_downsampling((1, 16, 16), factor).A(x)
        y = y + sigma[:, None, None, None] * torch.randn(y.shape, generator=g)
        log_p = model(y, sigma)
        expected = -sum(log_p[i, c] for i, c in enumerate(character)) / 6
        torch.testing.assert_close(loss, expected)
        assert figures["accuracy"] == (log_p.argmax(1) == character).float().mean()
        seen.add(factor)
    assert len(seen) > 2


def test_one_step_moves_the_network(tmp_path):
    model, (x, character) = reader(), batch(6)
    images = ImageSet((255 * x).byte(), "", "", labels=character)
    moved = moved_by_one_step(CrossEntropy(model, x), Labelled(images), tmp_path)
    assert moved == set(model.state_dict())
