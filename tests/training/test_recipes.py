"""Every recipe trains for some steps, improves, and leaves weights with a complete card."""

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import cheap_figures
from PIL import Image
from typer.testing import CliRunner

from course_lib.cli import app
from course_lib.data import load_crops
from course_lib.data.worlds import WORLDS, ImageSet
from course_lib.models import load_pretrained
from course_lib.models.pretrained import WEIGHTS, build, leave_out
from course_lib.project import CourseError
from course_lib.training import release
from course_lib.training.recipes import RECIPES, find_recipe


@pytest.fixture
def tiny_worlds(monkeypatch, tmp_path):
    """Every set of images is eight crops of the bundled photographs, with made-up labels."""
    images = (load_crops(8).images * 255).round().byte()

    def load(name, split="train", n=None, *, root=None, progress=False):
        chosen = images.expand(-1, 3, -1, -1) if name.endswith("colour") else images
        return ImageSet(chosen, name, "test", labels=torch.arange(8) % 36)

    monkeypatch.setattr(release, "load_world", load)
    cheap_figures(monkeypatch)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_recipe_trains_and_releases(name, tiny_worlds):
    """Three steps: weights move, stay finite, and come back from the file with figures."""
    recipe = find_recipe(name)
    recipe = replace(recipe, settings=replace(recipe.settings, batch_size=4))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.settings.seed)
        start = build(recipe.architecture, dict(recipe.arguments)).state_dict()
    training = release.run_recipe(recipe, tiny_worlds / "run", steps=3, progress=False)
    assert training.steps == 3
    assert training.skipped == 0
    moved = [key for key, value in training.raw.state_dict().items() if (value != start[key]).any()]
    assert len(moved) > 0.9 * len(start)

    card = release.release_weights(recipe, training, tiny_worlds, command=f"course train {name}")
    assert card == json.loads((tiny_worlds / f"{name}.json").read_text())
    assert card["figures"]
    assert all(isinstance(figure["value"], float | int) for figure in card["figures"].values())
    loaded = load_pretrained(name, folder=tiny_worlds).state_dict()
    for key, value in leave_out(training.model, recipe.left_out).state_dict().items():
        torch.testing.assert_close(loaded[key], value, rtol=2**-10, atol=1e-6)


@pytest.mark.parametrize("name", RECIPES)
def test_released_card_belongs_to_its_recipe(name):
    """The file that comes with the course was made by the recipe as it stands, on its own data."""
    card, recipe = json.loads((WEIGHTS / f"{name}.json").read_text()), find_recipe(name)
    assert release.describe(recipe).items() <= card.items()
    assert card.get("left_out", []) == list(recipe.left_out)
    assert card["command"].startswith(f"course train {name}")
    assert card["steps"] == recipe.settings.steps
    assert card.get("base", {}).get("name") == recipe.base


def test_a_card_states_data_licence_and_settings():
    """Of the recipe's own data, or of another set; each entry is what its name says."""
    recipe = find_recipe("gan_plates64_conditional")
    assert release.describe(recipe) == {
        "name": "gan_plates64_conditional",
        "description": recipe.description,
        "architecture": "GAN",
        "arguments": {"latent_dim": 64, "classes": 36},
        "data": "plates: rendered number plates",
        "data_licence": "MIT, as this package, which renders them",
        "held_out": "2000 test images of plates: rendered number plates",
        "licence": "MIT",
        "seed": 0,
        "batch_size": 32,
        "learning_rate": 3e-4,
        "left_out": ["discriminator"],
    }
    other = release.describe(recipe, release.Source("celeba"))
    assert other["data"].startswith("celeba: CelebA, faces")
    assert other["data_licence"] == "non-commercial research"
    assert other["licence"] == "non-commercial research, as the images"
    assert other["held_out"].startswith("at most 2000 test images of celeba: CelebA, faces")


@pytest.mark.parametrize("name", RECIPES)
def test_weights_allow_no_more_than_their_images(name):
    """MIT for images that the package renders; else the images' own terms, word for word."""
    card = json.loads((WEIGHTS / f"{name}.json").read_text())
    if card["licence"] == "MIT":
        assert card["data"].split(":")[0] in WORLDS
        assert card["data_licence"].startswith("MIT")
    else:
        assert card["licence"] == f"{card['data_licence']}, as the images"
    if "base" in card:
        base = json.loads((WEIGHTS / f"{card['base']['name']}.json").read_text())
        assert base["licence"] in ("MIT", card["licence"])
    if card["data"].startswith("bsds500"):
        assert "research and education" in card["licence"]


def test_weights_that_go_on_from_others_inherit_their_terms():
    terms = "non-commercial research; non-commercial research and education, as the images"
    assert release.licence_of_weights("celeba", "vae_photos64") == terms
    assert release.licence_of_weights("celeba", "vae_portraits64") == (
        "non-commercial research, as the images"
    )
    assert release.licence_of_weights("portraits", "vae_photos64") == (
        "non-commercial research and education, as the images"
    )


OPENED: list[str] | None = None  # paths of the files that Python opens, while a test asks for them


def note_opened(event: str, arguments: tuple) -> None:
    if OPENED is not None and event == "open" and isinstance(arguments[0], str | os.PathLike):
        OPENED.append(os.fspath(arguments[0]))


sys.addaudithook(note_opened)


@pytest.mark.parametrize("name", [n for n, recipe in RECIPES.items() if recipe.data == "bsds500"])
def test_only_the_training_half_trains(name, tmp_path, monkeypatch):
    """Of the Berkeley photographs a recipe opens those of the folder train, and no other."""
    for folder in ("train", "val", "test"):
        (tmp_path / folder).mkdir()
        for number in range(3):
            image = np.random.default_rng(number).integers(0, 256, (90, 80), np.uint8)
            Image.fromarray(image).save(tmp_path / folder / f"{number}.jpg")
    monkeypatch.setattr(sys.modules[__name__], "OPENED", [])
    source, recipe = release.Source(root=tmp_path), replace(find_recipe(name), n_images=12)
    source.training_set(recipe, progress=False)
    opened = {Path(path).parent.name for path in OPENED if Path(path).is_relative_to(tmp_path)}
    assert opened == {"train"}
    OPENED.clear()
    source.held_out(replace(recipe, held_out=(recipe.held_out[0], 3)))
    opened = {Path(path).parent.name for path in OPENED if Path(path).is_relative_to(tmp_path)}
    assert opened == {"test"}


def test_no_weights_without_a_recipe():
    assert {card.stem for card in WEIGHTS.glob("*.json")} <= RECIPES.keys()


def test_unknown_recipe():
    with pytest.raises(CourseError, match=r"No recipe 'vae_mnist'. There are: vae_photos64"):
        find_recipe("vae_mnist")


@pytest.mark.slow
def test_command(tiny_worlds):
    """`course train` lists recipes; with a name it trains, says what it measured, and resumes."""
    runner = CliRunner()
    assert set(RECIPES) <= set(re.findall(r"^\w+", runner.invoke(app, ["train"]).output, re.M))
    call = ["train", "vae_plates64", "--steps", "2", "--folder", os.fspath(tiny_worlds)]
    first = runner.invoke(app, call)
    assert first.exit_code == 0, first.output
    assert "reconstruction" in first.output
    assert (tiny_worlds / "vae_plates64" / "vae_plates64.safetensors").exists()
    again = runner.invoke(app, call)
    assert again.output == first.output  # a finished run has nothing left to do
