"""From a recipe to weights and their card."""

import platform
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from course_lib.data.worlds import ImageSet, about, load_world
from course_lib.models.pretrained import build, load_pretrained, save_card, save_weights
from course_lib.project import course_root
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
    """
    own = data in (None, recipe.data)
    count = n_images or (recipe.n_images if own else None)
    images = load_world(data or recipe.data, "train", count, root=root, quiet=quiet)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.settings.seed)  # layers draw their first weights globally
        model = build(recipe.architecture, dict(recipe.arguments))
    preview = held_out(recipe, data, root)[torch.arange(8)].to(device)
    return train(
        recipe.objective(model.to(device), preview),
        recipe.prepare(images),
        replace(recipe.settings, steps=steps or recipe.settings.steps),
        folder,
        device=device,
        minutes=minutes,
        quiet=quiet,
    )


def ship_weights(
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
    card = {
        "name": name,
        "description": recipe.description,
        "architecture": recipe.architecture,
        "arguments": dict(recipe.arguments),
        "parameters": sum(p.numel() for p in training.model.parameters()),
        "data": f"{source}: {description}",
        "data_licence": licence,
        "licence": "MIT",
        "command": command,
        "seed": recipe.settings.seed,
        "commit": _commit(),
        "steps": training.steps,
        "batch_size": recipe.settings.batch_size,
        "minutes": round(training.seconds / 60, 1),
        "machine": f"{platform.machine()}, torch {torch.__version__.split('+')[0]}, "
        f"{torch.get_num_threads()} threads",
        "sha256": save_weights(training.model, name, folder),
    }
    save_card(card, name, folder)
    model = load_pretrained(name, folder=folder)
    figures = recipe.evaluate(model, recipe.prepare(held_out(recipe, data, root)))
    card["figures"] = {key: figure._asdict() for key, figure in figures.items()}
    save_card(card, name, folder)
    return card


def held_out(recipe: Recipe, data: str | None = None, root: Path | None = None) -> Dataset:
    """The images that measure a recipe: its own, or the test split of the reader's set."""
    world, n = recipe.held_out
    if data in (None, recipe.data):
        return load_world(world, "test", n, quiet=True)
    images = load_world(data, "test", root=root, quiet=True)
    return ImageSet(images.images[:n], images.description, images.licence)


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
