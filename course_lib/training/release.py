"""From a recipe to weights and their card."""

import platform
import subprocess
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from course_lib.data.worlds import about, load_world
from course_lib.models.pretrained import (
    build,
    leave_out,
    load_pretrained,
    read_card,
    save_card,
    save_weights,
)
from course_lib.project import CourseError, course_root
from course_lib.training.loop import Dataset, Training, train
from course_lib.training.recipes import Recipe


def run_recipe(
    recipe: Recipe,
    folder: Path,
    *,
    data: str | None = None,
    root: Path | None = None,
    device: str = "cpu",
    minutes: float | None = None,
    steps: int | None = None,
    n_images: int | None = None,
    quiet: bool = False,
) -> Training:
    """Train, or go on training, a recipe in a folder of its own.

    Args:
        recipe: what to train.
        folder: where checkpoint, log and contact sheets go; a checkpoint in it is resumed.
        data: another set than the recipe's own, by the name that `load_world` knows.
        root: folder of that set, if it is one that the reader brings.
        device: as torch names it.
        minutes: time to spend, instead of the recipe's number of steps.
        steps: another number of steps.
        n_images: another number of training images.
        quiet: no progress bar.

    Raises:
        CourseError: a device that is not there, a time or number that is not positive, files that
            are missing, or a folder with the checkpoint of another run.
    """
    _check_request(device, minutes, steps)
    images = training_set(recipe, data, root, n_images, device=device, quiet=quiet)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.settings.seed)  # layers draw their first weights globally
        model = build(recipe.architecture, dict(recipe.arguments))
        recipe.start(model)
    shown = held_out(recipe, data, root)
    preview = shown[torch.arange(min(8, len(shown)))].to(device)
    return train(
        recipe.objective(model.to(device), preview),
        images,
        replace(recipe.settings, steps=recipe.settings.steps if steps is None else steps),
        folder,
        device=device,
        minutes=minutes,
        quiet=quiet,
    )


def release_weights(
    recipe: Recipe,
    training: Training,
    folder: Path,
    *,
    command: str,
    data: str | None = None,
    root: Path | None = None,
) -> dict[str, Any]:
    """Write weights and card; the figures are those of the file, in half precision.

    Args:
        recipe: what was trained.
        training: what came of it.
        folder: where `name`.safetensors and `name`.json go.
        command: that made them, for the card.
        data: as in `run_recipe`.
        root: as in `run_recipe`.

    Returns:
        The card.
    """
    name, source = recipe.name, data or recipe.data
    description, licence = about(source)
    model = leave_out(deepcopy(training.model), recipe.left_out)
    card = {
        "name": name,
        "description": recipe.description,
        "architecture": recipe.architecture,
        "arguments": dict(recipe.arguments),
        "parameters": sum(p.numel() for p in model.parameters()),
        "data": f"{source}: {description}",
        "data_licence": licence,
        "licence": "MIT",
        "command": command,
        "seed": recipe.settings.seed,
        "commit": _commit(),
        "steps": training.steps,
        "batch_size": recipe.settings.batch_size,
        "minutes": round(training.seconds / 60, 1),
        "machine": f"{_processor(training.model)}, torch {torch.__version__.split('+')[0]}",
    }
    if recipe.left_out:
        card["left_out"] = list(recipe.left_out)
    if recipe.base is not None:
        card["base"] = {"name": recipe.base, "sha256": read_card(recipe.base)["sha256"]}
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as draft:  # no card is seen without its figures
        card["sha256"] = save_weights(model, name, Path(draft), recipe.base)
        save_card(card, name, Path(draft))
        model = load_pretrained(name, folder=Path(draft))
        measured = recipe.prepare(held_out(recipe, data, root))
        figures = recipe.evaluate(model, measured)
        if recipe.evaluate_training:
            figures |= recipe.evaluate_training(model, measured, training_set(recipe, data, root))
        card["figures"] = {key: figure._asdict() for key, figure in figures.items()}
        save_card(card, name, Path(draft))
        for file in (f"{name}.safetensors", f"{name}.json"):
            (Path(draft) / file).replace(folder / file)
    return card


def training_set(
    recipe: Recipe,
    data: str | None = None,
    root: Path | None = None,
    n_images: int | None = None,
    *,
    device: str = "cpu",
    quiet: bool = True,
) -> Dataset:
    """The images that train a recipe, in the memory of a device, as its objective expects them."""
    own = data in (None, recipe.data)
    count = recipe.n_images if own and n_images is None else n_images
    images = load_world(data or recipe.data, "train", count, root=root, quiet=quiet)
    return recipe.prepare(images.to(device))


def held_out(recipe: Recipe, data: str | None = None, root: Path | None = None) -> Dataset:
    """The images that measure a recipe: its own, or the test split of the reader's set."""
    world, n = recipe.held_out
    if data in (None, recipe.data):
        return load_world(world, "test", n, quiet=True)
    images = load_world(data, "test", root=root, quiet=True)
    labels = None if images.labels is None else images.labels[:n]
    return replace(images, images=images.images[:n], labels=labels)


def _check_request(device: str, minutes: float | None, steps: int | None) -> None:
    """Refuse what cannot be done before any image is rendered."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise CourseError(f"--device {device} cannot be used here: {error}") from error
    if minutes is not None and steps is not None:
        raise CourseError("Give --minutes or --steps, not both.")
    for name, value in (("--minutes", minutes), ("--steps", steps)):
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
