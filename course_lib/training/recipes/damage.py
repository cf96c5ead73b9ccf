"""A network that finds the damage of old photographs."""

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from course_lib.data.degradations import Damaged, old_photo, shifted_old_photo
from course_lib.metrics.detection import precision_recall
from course_lib.models.damage_detector import DamageDetector
from course_lib.protocols import Dataset
from course_lib.rng import generator_from
from course_lib.training.objective import Objective
from course_lib.training.recipes.recipe import Figure, Recipe
from course_lib.training.recipes.restoration import draw_damage
from course_lib.training.settings import Settings


class DetectionLoss(Objective):
    """Cross-entropy of the mask, on damage that is drawn anew in every step."""

    def __init__(self, model: DamageDetector, held_out: Tensor) -> None:
        self.model, self.held_out = model, held_out

    def loss(
        self, player: str, batch: Tensor, *, done: float, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """-log p(mask | damaged), nats a pixel."""
        damaged = draw_damage(batch, generator)
        nats = binary_cross_entropy_with_logits(self.model(damaged.image), damaged.mask)
        return nats, {"nats": nats.detach()}

    def preview(self, model: nn.Module) -> Tensor:
        """Held-out damaged images, their masks, and what is found."""
        damaged = old_photo(self.held_out[:8], generator=generator_from(1))
        return torch.cat([damaged.image, damaged.mask, model(damaged.image).sigmoid()])


@torch.no_grad()
def evaluate(model: DamageDetector, held_out: Dataset) -> dict[str, Figure]:
    """Precision and recall at one half, and over all thresholds, for two kinds of damage."""
    x = held_out[torch.arange(len(held_out))]
    figures, data, n = {}, "held-out crops of photographs, all pixels", len(x)
    for label, damage in (("", old_photo), ("shifted_", shifted_old_photo)):
        damaged: Damaged = damage(x, generator=generator_from(1))
        found = torch.cat([model.probability(part) for part in damaged.image.split(64)])
        called, true = found > 0.5, damaged.mask > 0
        hits = (called & true).sum()
        curve = precision_recall(found, true)
        measured = {
            "precision": hits / called.sum().clamp(min=1),
            "recall": hits / true.sum(),
            "average_precision": curve.average_precision,
            "share": true.float().mean(),
        }
        figures |= {label + key: Figure(float(v), "", data, n) for key, v in measured.items()}
    return figures


DAMAGE_RECIPES = [
    Recipe(
        name="detector_photos64",
        description="Damage of old photographs, pixel by pixel, in pictures of any size",
        architecture="DamageDetector",
        arguments={"channels": [16, 32, 64], "blocks": 1},
        data="bsds500",
        n_images=60_000,
        held_out=("bsds500_each", 100),
        objective=DetectionLoss,
        evaluate=evaluate,
        settings=Settings(steps=5000, batch_size=16),
    ),
]
