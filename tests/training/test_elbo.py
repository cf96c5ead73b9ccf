"""Objectives of variational autoencoders against their formulas."""

import math

import pytest
import torch
from helpers import moved_by_one_step

from course_lib.models import conv_vae, linear_vae
from course_lib.rng import generator_from, normal_like
from course_lib.training import NegativeElbo, UnscaledElbo
from course_lib.training.elbo import follow_residual, negative_elbo


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return conv_vae(channels=[4], latent_channels=2, blocks=1, tail=4, img_size=(1, 8, 8)).double()


@pytest.fixture
def x():
    return torch.rand(6, 1, 8, 8, generator=generator_from(1), dtype=torch.float64)


@pytest.mark.parametrize("floor", [0.0, 0.7])
@pytest.mark.parametrize(("done", "beta"), [(0.0, 0), (0.05, 0.5), (0.1, 1), (0.8, 1)])
def test_loss_by_hand(vae, x, floor, done, beta):
    """mean_j [(x - G(z))_j^2 / (2 s^2) + log s + log(2 pi) / 2] + beta KL / n, z = m + e std."""
    objective = NegativeElbo(vae, x, noise_floor=floor)
    loss, figures = objective.loss("model", x, done=done, generator=generator_from(3))
    q = vae.encode(x)
    z = q.mean + q.stddev * normal_like(q.mean, generator_from(3))
    mse = (vae.decode(z).mean - x).square().mean()
    s = max(vae.noise_std.item(), 0.75 * mse.sqrt().item(), floor)
    kl = 0.5 * (q.mean**2 + q.stddev**2 - 1 - 2 * q.stddev.log()).sum() / len(x)
    expected = mse / (2 * s**2) + math.log(s) + 0.5 * math.log(2 * math.pi) + beta * kl / 64
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(figures["mse"], mse.detach())
    torch.testing.assert_close(figures["rate"], kl.detach())


def test_loss_is_the_elbo(vae, x):
    """With the noise level at the batch's own residual, loss = -ELBO / n for the same draw."""
    _, figures = negative_elbo(vae, x, 1.0, generator_from(0))
    vae.noise_std.copy_(torch.maximum(vae.noise_std, 0.75 * figures["mse"].sqrt()))
    loss, _ = negative_elbo(vae, x, 1.0, generator_from(0))
    elbo = vae.elbo(x, generator=generator_from(0))
    torch.testing.assert_close(loss, -elbo.value.mean() / 64, rtol=1e-12, atol=0)


def test_one_step_moves_the_networks_and_the_noise_level(vae, x, tmp_path):
    names = set(vae.state_dict())
    objective = NegativeElbo(vae, x)
    _, figures = objective.loss("model", x, done=0.0, generator=generator_from(0))
    assert moved_by_one_step(objective, x, tmp_path) == names
    assert vae.noise_std > 0.1  # the residual of a fresh decoder is about 0.3
    assert figures["mse"] > 0.1**2


def test_noise_level_follows_the_residual(vae):
    """It moves a fiftieth of the way, never below the floor, and ignores what is not finite."""
    follow_residual(vae, 0.04)
    assert vae.noise_std.item() == pytest.approx(0.1 + 0.02 * (0.2 - 0.1))
    follow_residual(vae, float("nan"))
    assert vae.noise_std.item() == pytest.approx(0.102)
    for _ in range(500):
        follow_residual(vae, 0.0, noise_floor=0.05)
    assert vae.noise_std.item() == pytest.approx(0.05, rel=1e-3)


def test_unscaled_elbo_is_an_error_a_pixel_plus_a_rate_an_image(generator):
    """Mean square error + beta KL, without a noise level: the loss of erratum E42."""
    torch.manual_seed(0)
    vae = linear_vae(latent_dim=2, img_size=(1, 2, 3)).double()
    x = torch.rand(4, 1, 2, 3, generator=generator, dtype=torch.float64)
    q = vae.encode(x)
    eps = torch.randn(q.mean.shape, generator=generator_from(1), dtype=torch.float64)
    error = (vae.decode(q.mean + q.stddev * eps).mean - x).square().mean()
    nats = (q.mean**2 + q.variance - 1 - q.variance.log()).sum(1).mean() / 2
    objective = UnscaledElbo(vae, x)
    for done, beta in ((0.0, 0.0), (0.05, 0.5), (0.7, 1.0)):
        loss, _ = objective.loss("model", x, done=done, generator=generator_from(1))
        torch.testing.assert_close(loss, error + beta * nats)
    objective.after_step({})
