"""Every recipe trains for some steps, improves, and leaves weights with a complete card."""

import json
import os
import re
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from course_lib.cli import app
from course_lib.data import load_crops
from course_lib.data.views import Halved
from course_lib.data.worlds import ImageSet, load_world
from course_lib.models import load_pretrained
from course_lib.models.pretrained import WEIGHTS, build, leave_out
from course_lib.project import CourseError
from course_lib.rng import generator_from
from course_lib.training import release
from course_lib.training.elbo import follow_residual, negative_elbo
from course_lib.training.recipes import RECIPES, diffusion, find_recipe, gans


@pytest.fixture
def tiny_worlds(monkeypatch, tmp_path):
    """Every set of images is 48 crops of the bundled photographs, with made-up labels."""
    images = (load_crops(48).images * 255).round().byte()

    def load(name, split="train", n=None, *, root=None, progress=False):
        chosen = images.expand(-1, 3, -1, -1) if name.endswith("colour") else images
        return ImageSet(chosen, name, "test", labels=torch.arange(48) % 36)

    monkeypatch.setattr(release, "load_world", load)
    monkeypatch.setitem(gans.INVERSION, "steps", 2)
    monkeypatch.setattr(gans, "INVERTED", 2)
    little = {"samples": 2, "sampling_steps": 2, "potentials": 2, "n_steps": 1}
    monkeypatch.setattr(diffusion, "MEASURED", little)
    return tmp_path


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_trains_and_releases(name, tiny_worlds):
    """Three steps: weights move, stay finite, and come back from the file with figures."""
    recipe = find_recipe(name)
    few = min(64, recipe.settings.batch_size)  # where a recipe has batches for a GPU
    recipe = replace(recipe, settings=replace(recipe.settings, batch_size=few))
    training = release.run_recipe(recipe, tiny_worlds / "run", steps=3, progress=False)
    assert training.steps == 3
    assert training.skipped == 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.settings.seed)
        start = build(recipe.architecture, dict(recipe.arguments)).state_dict()
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
    """The file that comes with the course was made by the recipe as it stands."""
    card, recipe = json.loads((WEIGHTS / f"{name}.json").read_text()), find_recipe(name)
    assert card["architecture"] == recipe.architecture
    assert card["arguments"] == dict(recipe.arguments)
    assert card["command"].startswith(f"course train {name}")
    assert card["steps"] == recipe.settings.steps
    assert card["batch_size"] == recipe.settings.batch_size
    assert card.get("base", {}).get("name") == recipe.base
    assert card.get("left_out", []) == list(recipe.left_out)


def test_no_weights_without_a_recipe():
    assert {card.stem for card in WEIGHTS.glob("*.json")} <= RECIPES.keys()


def test_loss_of_a_vae_is_its_elbo():
    """With the noise level at the batch's own residual, loss = -ELBO / n for the same draw."""
    vae = build("conv_vae", {"channels": [4], "latent_channels": 2, "blocks": 1, "tail": 4})
    x = load_crops(3).images
    loss, figures = negative_elbo(vae, x, 1.0, generator_from(0))
    vae.noise_std.copy_(torch.maximum(vae.noise_std, 0.75 * figures["mse"].sqrt()))
    elbo = vae.elbo(x, generator=generator_from(0))
    # float32 sums of 4096 terms of size 1
    torch.testing.assert_close(loss, -elbo.value.mean() / x[0].numel(), rtol=1e-4, atol=1e-5)


def test_noise_level_follows_the_residual():
    """It moves a fiftieth of the way, never below the floor, and ignores what is not finite."""
    vae = build("conv_vae", {"channels": [4], "latent_channels": 2, "blocks": 1, "tail": 4})
    follow_residual(vae, 0.04)
    assert vae.noise_std.item() == pytest.approx(0.1 + 0.02 * (0.2 - 0.1))
    follow_residual(vae, float("nan"))
    assert vae.noise_std.item() == pytest.approx(0.102)
    for _ in range(500):
        follow_residual(vae, 0.0, noise_floor=0.05)
    assert vae.noise_std.item() == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("name", ["plates", "portraits"])
def test_denoisers_are_told_the_true_mean_and_deviation(name):
    """Of the pixels of their world at half resolution: a wrong deviation destroys samples."""
    arguments = find_recipe(f"diffusion_{name}32").arguments
    x = Halved(load_world(name, "test", 64, progress=False))[torch.arange(64)]
    # 64 images, whose mean brightness varies by 0.1: 0.0125 of the mean, more of its extremes
    assert x.mean().item() == pytest.approx(arguments["data_mean"], abs=0.04)
    assert x.std().item() == pytest.approx(arguments["data_std"], abs=0.02)


def test_nearest_training_image():
    """A copy has distance 0, a copy that is brighter by d has distance d."""
    images = load_crops(20).images
    found = diffusion.nearest(images[3:5] + torch.tensor([0.0, 0.01])[:, None, None, None], images)
    # distances come from |a|^2 - 2 <a, b> + |b|^2 in float32, of numbers of size 1000
    torch.testing.assert_close(found, torch.tensor([0.0, 0.01]), rtol=0.05, atol=5e-4)


def test_unknown_recipe():
    with pytest.raises(CourseError, match=r"No recipe 'vae_mnist'. There are: vae_photos64"):
        find_recipe("vae_mnist")


def test_command(tiny_worlds, monkeypatch):
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
