"""Recipes of encoders of measurements: operators, the loss, and that they fit their priors."""

import pytest
import torch
from helpers import moved_by_one_step

from course_lib.inference import latent_divergence
from course_lib.models.measurement_encoder import MeasurementEncoderForm
from course_lib.models.pretrained import build
from course_lib.models.stacked_vae import stacked_vae
from course_lib.operators import GaussianNoise, bicubic_downsampling
from course_lib.rng import generator_from
from course_lib.training.recipes import find_recipe, measurement_encoders
from course_lib.training.recipes.measurement_encoders import (
    ENCODER_RECIPES,
    LatentDivergence,
    start_from_prior,
)

LATENTS = {"1": 2, "8": 3}


@pytest.fixture
def hvae():
    torch.manual_seed(0)
    model = stacked_vae(
        dec_blocks="1x2,8m1",
        latents=LATENTS,
        channels=(4, 6, 8),
        width=12,
        blocks=1,
        tail=4,
    )
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


def encoder(size: int, channels: list[int], halves: list[bool]):
    torch.manual_seed(1)
    return MeasurementEncoderForm(
        measurement_size=(1, size, size),
        sides=[1, 1, 8],
        latents=LATENTS,
        channels=channels,
        halves=halves,
        width=12,
        blocks=1,
    ).build()


@pytest.fixture
def x():
    return torch.rand(6, 1, 64, 64, generator=generator_from(2))


def test_loss_is_the_divergence_and_leaves_the_prior_alone(hvae, x, monkeypatch):
    monkeypatch.setattr(measurement_encoders, "load_pretrained", lambda name, device: hvae)
    model, op = encoder(8, [8], [False]), bicubic_downsampling((1, 64, 64), 8)
    objective = LatentDivergence(model, x, prior="tiny", op=op)
    loss, figures = objective.loss("model", x, done=0.0, generator=generator_from(4))
    nats = latent_divergence(hvae, model, x, op.A(x), generator=generator_from(4))
    torch.testing.assert_close(loss, nats.sum(1).mean())
    for index in range(3):
        torch.testing.assert_close(figures[f"group_{index}"], nats[:, index].mean().detach())
    loss.backward()
    assert all(head[-1].weight.grad.abs().max() > 0 for head in model.heads)
    assert all(p.grad is None for p in hvae.parameters())
    assert not any("hvae" in name for name in model.state_dict())


def test_one_step_moves_the_encoder_alone(hvae, x, monkeypatch, tmp_path):
    monkeypatch.setattr(measurement_encoders, "load_pretrained", lambda name, device: hvae)
    before = {name: value.clone() for name, value in hvae.state_dict().items()}
    model, op = encoder(8, [8], [False]), bicubic_downsampling((1, 64, 64), 8, GaussianNoise(0.1))
    objective = LatentDivergence(model, x, prior="tiny", op=op)
    moved = moved_by_one_step(objective, x, tmp_path)
    last = {f"heads.{k}.{len(head) - 1}.weight" for k, head in enumerate(model.heads)}
    assert last <= moved  # the layers before them begin without a slope
    assert all(torch.equal(value, before[name]) for name, value in hvae.state_dict().items())


def test_the_measurement_is_noisy_where_the_operator_is(hvae, x, monkeypatch):
    """The loss is the divergence for y = A x + noise, with the draws of one generator."""
    monkeypatch.setattr(measurement_encoders, "load_pretrained", lambda name, device: hvae)
    model, op = encoder(8, [8], [False]), bicubic_downsampling((1, 64, 64), 8, GaussianNoise(0.3))
    objective = LatentDivergence(model, x, prior="tiny", op=op)
    loss, _ = objective.loss("model", x, done=0.0, generator=generator_from(4))
    g = generator_from(4)
    y = op.A(x) + 0.3 * torch.randn(len(x), 1, 8, 8, generator=g)
    expected = latent_divergence(hvae, model, x, y, generator=g).sum(1).mean()
    torch.testing.assert_close(loss, expected)


def test_start_from_the_prior(hvae):
    """An encoder of whole images begins with the maps of the image, others are left alone."""
    whole, small = encoder(64, [4, 6, 8], [True, True, True]), encoder(8, [8], [False])
    before = {name: value.clone() for name, value in small.state_dict().items()}
    for model in (whole, small):
        start_from_prior(model, hvae)
    own, prior = whole.encoder.stages.state_dict(), hvae.encoder.stages.state_dict()
    assert own.keys() == prior.keys()
    assert all(torch.equal(own[name], prior[name]) for name in own)
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())


@pytest.mark.parametrize("recipe", ENCODER_RECIPES, ids=lambda recipe: recipe.name)
def test_recipe_fits_its_prior(recipe):
    """Heads see what the prior's own see, and tell as much. (On "meta" nothing is allocated.)"""
    prior = find_recipe(f"hvae_{recipe.data}64")
    with torch.device("meta"):
        model = build(recipe.architecture, dict(recipe.arguments))
        groups = build(prior.architecture, dict(prior.arguments)).decoder.dec_blocks
    assert model.k <= len(groups)
    assert model.sides == [group.side for group in groups[: model.k]]
    for head, group in zip(model.heads, groups, strict=False):
        assert head[1].in_channels == group.enc[1].in_channels
        assert head[-1].out_channels == group.enc[-1].out_channels
