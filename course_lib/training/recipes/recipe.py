"""A recipe: all that turns one command into one file of weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from course_lib.protocols import Dataset
from course_lib.training.objective import Objective
from course_lib.training.settings import Settings

N_IMAGES = {"plates": 64_000, "portraits": 10_000}


class Figure(NamedTuple):
    """One measured number of a card."""

    value: float
    unit: str
    data: str  # what it was measured on
    n: int  # how many images


def figures_of(found: Mapping[str, tuple[float, str]], n: int) -> dict[str, Figure]:
    """Values and units, as measured on n held-out images."""
    return {key: Figure(value, unit, "held-out images", n) for key, (value, unit) in found.items()}


def images_of(world: str, n_held_out: int) -> dict[str, Any]:
    """Fields of a recipe that learns from grey plates or portraits."""
    return {"data": world, "n_images": N_IMAGES[world], "held_out": (world, n_held_out)}


@dataclass(frozen=True)
class Recipe:
    """All that makes `name`.safetensors.

    Args:
        name: name of the weights.
        description: one line for the card.
        architecture: a key of `models.pretrained.ARCHITECTURES`.
        arguments: those of the architecture.
        data: set of the training, as `data.worlds.load_world` names it.
        n_images: number of its images.
        held_out: world whose test images measure the model, and their number.
        objective: from the model and a few held-out images (for the contact sheet) to what the
            loop minimises.
        evaluate: from the trained model and the held-out set to the figures of the card.
        settings: numbers of the run.
        prepare: from the set of images to what the objective expects (labels, for instance).
        start: changes the fresh weights of the model, for instance to those of a simpler one.
        base: name of weights of which the model keeps most; only what differs is written.
        left_out: parts of the model that nothing needs after training: they are not written.
        evaluate_training: further figures, from the model, the held-out and the training set.
    """

    name: str
    description: str
    architecture: str
    arguments: Mapping[str, Any]
    data: str
    n_images: int
    held_out: tuple[str, int]
    objective: Callable[[Any, Tensor], Objective]
    evaluate: Callable[[Any, Dataset], dict[str, Figure]]
    settings: Settings
    prepare: Callable[[Dataset], Dataset] = field(default=lambda images: images)
    start: Callable[[Any], None] = field(default=lambda _: None)
    base: str | None = None
    left_out: tuple[str, ...] = ()
    evaluate_training: Callable[[Any, Dataset, Dataset], dict[str, Figure]] | None = None
