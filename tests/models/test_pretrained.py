"""Released weights are what their cards say, and a damaged file is refused."""

import json

import pytest
import torch

from course_lib.models import available, load_pretrained, read_card
from course_lib.models.pretrained import WEIGHTS, build, save_card, save_weights
from course_lib.project import CourseError
from course_lib.rng import generator_from

MEGABYTE = 1e6


@pytest.fixture
def saved(tmp_path):
    """A tiny model with its card."""
    arguments = {"channels": [4], "latent_channels": 2, "blocks": 1, "tail": 4}
    model = build("conv_vae", arguments)
    model.noise_std.fill_(0.123456)
    digest = save_weights(model, "tiny", tmp_path)
    card = {"architecture": "conv_vae", "arguments": arguments, "sha256": digest}
    save_card(card, "tiny", tmp_path)
    return model, tmp_path


def test_round_trip(saved):
    """Weights come back to half precision, single numbers exactly."""
    model, folder = saved
    loaded = load_pretrained("tiny", folder=folder)
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=2**-11, atol=1e-7)
    assert loaded.noise_std == model.noise_std
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())


def test_changed_file_is_refused(saved):
    _, folder = saved
    path = folder / "tiny.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CourseError, match="not the file that its card describes"):
        load_pretrained("tiny", folder=folder)


def test_missing_file_and_unknown_names(saved):
    _, folder = saved
    (folder / "tiny.safetensors").unlink()
    with pytest.raises(CourseError, match="missing beside its card"):
        load_pretrained("tiny", folder=folder)
    with pytest.raises(CourseError, match=r"There are: tiny.*course train vae_mnist"):
        load_pretrained("vae_mnist", folder=folder)
    with pytest.raises(CourseError, match="Unknown architecture 'nonsense'"):
        build("nonsense", {})


@pytest.mark.parametrize("name", available())
def test_shipped_weights(name):
    """Every card is complete, its file has the hash, loads, and is small."""
    card = read_card(name)
    assert card["name"] == name
    expected = {
        "data",
        "data_licence",
        "licence",
        "command",
        "seed",
        "commit",
        "steps",
        "minutes",
        "machine",
    }
    assert expected <= card.keys()
    assert card["figures"]
    model = load_pretrained(name)
    assert sum(p.numel() for p in model.parameters()) == card["parameters"]
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert (WEIGHTS / f"{name}.safetensors").stat().st_size < 16 * MEGABYTE


def test_all_weights_together():
    assert sum(f.stat().st_size for f in WEIGHTS.glob("*.safetensors")) < 120 * MEGABYTE
    for card in WEIGHTS.glob("*.json"):
        assert json.loads(card.read_text())["name"] == card.stem


def test_what_a_base_has_is_not_written(tmp_path):
    """A file with a base keeps what differs; with another base than its own it is refused."""
    name, base = "structured_vae_portraits64", "vae_portraits64"
    model = load_pretrained(name)
    model.noise_std.mul_(2)  # which the base has too, with another value
    card = read_card(name) | {"sha256": save_weights(model, "mine", tmp_path, base)}
    save_card(card, "mine", tmp_path)
    size = (tmp_path / "mine.safetensors").stat().st_size
    assert size < (WEIGHTS / f"{base}.safetensors").stat().st_size / 10
    loaded = load_pretrained("mine", folder=tmp_path).state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in model.state_dict().items())
    save_card(card | {"base": {"name": base, "sha256": "another"}}, "mine", tmp_path)
    with pytest.raises(CourseError, match="train again what is built on it"):
        load_pretrained("mine", folder=tmp_path)


def test_what_only_training_needs_is_left_out():
    gan = load_pretrained("gan_plates64_conditional")
    assert gan.discriminator is None
    assert gan.sample(2, generator=generator_from(0), label=torch.arange(2)).shape == (2, 1, 64, 64)
