"""Objectives of the two networks that repair old photographs, and the damage they learn from."""

import math

import pytest
import torch
from helpers import moved_by_one_step

from course_lib.data import load_crops
from course_lib.models import DenoisingAutoencoder, LatentTranslation
from course_lib.rng import generator_from, normal_like
from course_lib.training.recipes.restoration import (
    DenoisingLoss,
    TranslationLoss,
    _some,
    draw_damage,
    draw_faded,
)


@pytest.fixture(scope="module")
def x():
    return load_crops(8, 32).images


def translation() -> LatentTranslation:
    torch.manual_seed(0)
    return LatentTranslation(channels=(4, 4), latent_channels=2, width=4, blocks=1)


def elbo_loss(vae, x, beta, generator):
    """Distortion at the noise level max(s, 3/4 of the residual), plus beta KL / n."""
    q = vae.encode(x)
    z = q.mean + q.stddev * normal_like(q.mean, generator)
    mse = (vae.decode(z).mean - x).square().mean()
    s = max(vae.noise_std.item(), 0.75 * mse.sqrt().item())
    kl = 0.5 * (q.mean**2 + q.stddev**2 - 1 - 2 * q.stddev.log()).sum() / len(x)
    return mse / (2 * s**2) + math.log(s) + 0.5 * math.log(2 * math.pi) + beta * kl / x[0].numel()


def test_denoising_loss_by_hand(x, tmp_path):
    """Mean of (f(damaged, mask) - clean)^2, with the damage of the generator."""
    torch.manual_seed(0)
    model = DenoisingAutoencoder(channels=(4, 4), blocks=1)
    objective = DenoisingLoss(model, x)
    loss, _ = objective.loss("model", x, done=0.5, generator=generator_from(1))
    image, mask = draw_damage(x, generator_from(1))
    torch.testing.assert_close(loss, (model(image, mask) - x).square().mean())
    assert moved_by_one_step(objective, x, tmp_path) >= {n for n, _ in model.named_parameters()}


def test_translation_losses_by_hand(x):
    """ELBOs of two autoencoders, and |T(z) - z*| + 10 rms of the image for the mapping."""
    model = translation()
    objective = TranslationLoss(model, x)
    losses = {
        player: objective.loss(player, x, done=0.03, generator=generator_from(1))[0]
        for player in objective.players()
    }
    expected = elbo_loss(model.clean, x, 0.3, generator_from(1))
    torch.testing.assert_close(losses["clean"], expected)
    g = generator_from(1)
    damaged = draw_damage(x, g)
    mixed = torch.where(_some(x, 0.25, g), draw_faded(x, g), damaged.image)
    torch.testing.assert_close(losses["damaged"], elbo_loss(model.damaged, mixed, 0.3, g))
    z = model.translate(model.damaged.encode(damaged.image).mean, damaged.mask)
    distance = (z - model.clean.encode(x).mean).abs().mean()
    error = (model.clean.decode(z).mean - x).square().mean().sqrt()
    torch.testing.assert_close(losses["mapping"], distance + 10 * error)


def test_each_player_moves_its_own_part(x, tmp_path):
    """And the noise levels of both autoencoders follow their residuals."""
    model = translation()
    names = set(model.state_dict())
    objective = TranslationLoss(model, x)
    loss, _ = objective.loss("mapping", x, done=0.0, generator=generator_from(1))
    own = objective.players()
    gradients = torch.autograd.grad(loss, own["damaged"], allow_unused=True)
    assert all(g is None for g in gradients)  # latents are taken as given
    moved = moved_by_one_step(objective, x, tmp_path)
    assert {"damaged.noise_std", "clean.noise_std"} <= moved
    assert {name.split(".")[0] for name in moved} == {"damaged", "clean", "mapping"}
    assert len(moved) > 0.9 * len(names)


def test_a_quarter_is_scratched_but_else_intact():
    """Binomial draws: 4000 of them have a mean of 1/4 within five standard errors of 0.7 %."""
    chosen = _some(torch.zeros(4000, 1, 1, 1), 0.25, generator_from(0)).float()
    assert chosen.mean().item() == pytest.approx(0.25, abs=0.035)


def test_intact_photographs_are_among_the_damaged(x):
    """Outside of the painted pixels some are as they were, the others are not."""
    many = x.repeat(4, 1, 1, 1)
    image, mask = draw_damage(many, generator_from(2))
    intact = torch.where(mask > 0, 0, (image - many).abs()).flatten(1).amax(1) == 0
    # 32 draws of probability 1/4, or of the 3 in 10,000 that meet none of four operations
    assert 1 <= intact.sum() <= 18
