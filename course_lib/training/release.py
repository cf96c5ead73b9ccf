"""From a recipe to weights and their card."""

import platform
import subprocess
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from course_lib.data.worlds import WORLDS, about, load_world
from course_lib.models.pretrained import (
    build,
    leave_out,
    load_pretrained,
    read_card,
    save_card,
    save_weights,
)
from course_lib.project import CourseError, course_root
from course_lib.protocols import Dataset
from course_lib.training.loop import Training, train
from course_lib.training.recipes import Recipe


@dataclass(frozen=True)
class Source:
    """The set of images that trains a recipe: its own, or another.

    Args:
        name: a set that `load_world` knows; None for the recipe's own.
        root: folder of the set, if it is one of the reader.
    """

    name: str | None = None
    root: Path | None = None

    def training_set(self, recipe: Recipe, *, device: str = "cpu", progress: bool) -> Dataset:
        """The images that train, in the memory of a device, as the objective expects them."""
        name = self.name or recipe.data
        n = recipe.n_images if name == recipe.data else None
        images = load_world(name, "train", n, root=self.root, progress=progress)
        return recipe.prepare(images.to(device))

    def held_out(self, recipe: Recipe) -> Dataset:
        """The images that measure: the recipe's, or the test split of the reader's set."""
        world, n = recipe.held_out
        if self.name in (None, recipe.data):
            return load_world(world, "test", n, root=self.root, progress=False)
        images = load_world(self.name, "test", root=self.root, progress=False)
        labels = None if images.labels is None else images.labels[:n]
        return replace(images, images=images.images[:n], labels=labels)


def run_recipe(
    recipe: Recipe,
    folder: Path,
    source: Source = Source(),
    *,
    device: str = "cpu",
    minutes: float | None = None,
    steps: int | None = None,
    progress: bool = True,
) -> Training:
    """Train, or go on training, a recipe in a folder of its own.

    Args:
        recipe: what to train.
        folder: place of the saved run, log and contact sheets; a run saved in it goes on.
        source: images to train on.
        device: name that torch understands.
        minutes: time to spend, instead of the recipe's number of steps.
        steps: another number of steps.
        progress: whether to show progress bars.

    Raises:
        CourseError: a device that is not there, a time or number that is not positive, files that
            are missing, or a folder with another run.
    """
    _check_request(device, minutes, steps)
    images = source.training_set(recipe, device=device, progress=progress)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.settings.seed)  # layers draw their first weights globally
        model = build(recipe.architecture, dict(recipe.arguments))
        recipe.start(model)
    shown = source.held_out(recipe)
    preview = shown[torch.arange(min(8, len(shown)))].to(device)
    return train(
        recipe.objective(model.to(device), preview),
        images,
        replace(recipe.settings, steps=recipe.settings.steps if steps is None else steps),
        folder,
        device=device,
        minutes=minutes,
        progress=progress,
    )


def release_weights(
    recipe: Recipe,
    training: Training,
    folder: Path,
    source: Source = Source(),
    *,
    command: str,
) -> dict[str, Any]:
    """Write weights and card; the figures are those of the file, in half precision.

    Args:
        recipe: what was trained.
        training: the finished run.
        folder: place of `name`.safetensors and `name`.json.
        source: images of the training.
        command: that made the weights, for the card.

    Returns:
        The card.
    """
    name = recipe.name
    model = leave_out(deepcopy(training.model), recipe.left_out)
    card = describe(recipe, source) | {
        "parameters": sum(p.numel() for p in model.parameters()),
        "command": command,
        "commit": _commit(),
        "steps": training.steps,
        "minutes": round(training.seconds / 60, 1),
        "machine": f"{_processor(training.model)}, torch {torch.__version__.split('+')[0]}",
    }
    if recipe.base is not None:
        card["base"] = {"name": recipe.base, "sha256": read_card(recipe.base)["sha256"]}
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as draft:  # no card is seen without its figures
        card["sha256"] = save_weights(model, name, Path(draft), recipe.base)
        save_card(card, name, Path(draft))
        model = load_pretrained(name, folder=Path(draft))
        measured = recipe.prepare(source.held_out(recipe))
        figures = recipe.evaluate(model, measured)
        if recipe.evaluate_training:
            known = source.training_set(recipe, progress=False)
            figures |= recipe.evaluate_training(model, measured, known)
        card["figures"] = {key: figure._asdict() for key, figure in figures.items()}
        save_card(card, name, Path(draft))
        for file in (f"{name}.safetensors", f"{name}.json"):
            (Path(draft) / file).replace(folder / file)
    return card


def describe(recipe: Recipe, source: Source = Source()) -> dict[str, Any]:
    """Entries of a card that its recipe and its images determine."""
    name = source.name or recipe.data
    description, licence = about(name)
    card = {
        "name": recipe.name,
        "description": recipe.description,
        "architecture": recipe.architecture,
        "arguments": dict(recipe.arguments),
        "data": f"{name}: {description}",
        "data_licence": licence,
        "held_out": _held_out_words(recipe, source),
        "licence": licence_of_weights(name, recipe.base),
        "seed": recipe.settings.seed,
        "batch_size": recipe.settings.batch_size,
        "learning_rate": recipe.settings.learning_rate,
    }
    return card | ({"left_out": list(recipe.left_out)} if recipe.left_out else {})


def licence_of_weights(data: str, base: str | None = None) -> str:
    """Terms of weights: those of the images that trained them and of the weights they go on from.

    Args:
        data: name of the set of images; what the package renders is under its own licence.
        base: name of the weights that the model keeps, if any.
    """
    licences = [] if data in WORLDS else [about(data)[1]]
    if base is not None and (inherited := read_card(base)["licence"]) != "MIT":
        licences.append(inherited.removesuffix(", as the images"))
    return f"{'; '.join(dict.fromkeys(licences))}, as the images" if licences else "MIT"


def _held_out_words(recipe: Recipe, source: Source) -> str:
    """Which images the figures of a card are measured on."""
    world, n = recipe.held_out
    if source.name in (None, recipe.data):
        return f"{n} test images of {world}: {about(world)[0]}"
    return f"at most {n} test images of {source.name}: {about(source.name)[0]}"


def _check_request(device: str, minutes: float | None, steps: int | None) -> None:
    """Refuse what cannot be done before any image is rendered."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise CourseError(f"The device {device} cannot be used here: {error}") from error
    if minutes is not None and steps is not None:
        raise CourseError("Give a number of minutes or of steps, not both.")
    for name, value in (("minutes", minutes), ("steps", steps)):
        if value is not None and not value > 0:
            raise CourseError(f"{name}: expected more than 0, got {value}.")


def _processor(model: nn.Module) -> str:
    """What computes with a model: the name of a GPU, or the architecture of a CPU."""
    device = next(model.parameters()).device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


def _commit() -> str:
    """The commit the code is at, with a plus if files differ from it; "unknown" outside git."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(course_root()), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
