"""The head of L on a frozen VAE: its loss, its start, and what a step changes."""

import math

import pytest
import torch
from helpers import moved_by_one_step

from course_lib.models import conv_vae, structured_vae
from course_lib.rng import generator_from, normal_like
from course_lib.training.recipes import structured_vaes
from course_lib.training.recipes.structured_vaes import ResidualLikelihood

FORM = {"channels": [4], "latent_channels": 2, "tail": 4}


@pytest.fixture
def base(monkeypatch):
    torch.manual_seed(1)
    vae = conv_vae(**FORM, img_size=(1, 16, 16))
    vae.noise_std.fill_(0.05)
    monkeypatch.setattr(structured_vaes, "load_pretrained", lambda name: vae)
    return vae


@pytest.fixture
def objective(base, x):
    torch.manual_seed(2)
    model = structured_vae(radius=1, **FORM, img_size=(1, 16, 16))
    return ResidualLikelihood(model, x, base="tiny")


@pytest.fixture
def x():
    return torch.rand(5, 1, 16, 16, generator=generator_from(1))


def test_it_begins_as_the_base(objective, base, x):
    """White noise of the base's level: L = I / s; encoder and decoder are copies."""
    p = objective.model.decode(objective.model.encode(x).mean)
    torch.testing.assert_close(p.precision_cholesky.diagonal, torch.full_like(x, 1 / 0.05))
    assert p.precision_cholesky.offdiagonal.abs().max() == 0
    assert torch.equal(p.mean, base.decode(base.encode(x).mean).mean)
    assert objective.model.noise_std == base.noise_std


def test_loss_by_hand(objective, x):
    """[|L^T (x - G(z))|^2 / 2 - log det L + n log(2 pi) / 2] / n, z = m + e std."""
    model = objective.model
    model.head.last.weight.data.normal_(0, 0.3, generator=generator_from(5))
    loss, _ = objective.loss("model", x, done=0.5, generator=generator_from(3))
    q = model.encode(x)
    p = model.decode(q.mean + q.stddev * normal_like(q.mean, generator_from(3)))
    L = p.precision_cholesky
    white = L.matvec_t(x - p.mean)
    nats = 0.5 * white.square().sum() - L.log_det().sum() + 0.5 * x.numel() * math.log(2 * math.pi)
    torch.testing.assert_close(loss, nats / x.numel())


def test_one_step_moves_the_head_alone(objective, x, tmp_path):
    moved = moved_by_one_step(objective, x, tmp_path)
    assert "head.last.weight" in moved
    assert all(name.startswith("head.") for name in moved)
