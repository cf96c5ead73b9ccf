"""Training at a fixed noise level: the loss, what the head may change, and the second rate."""

import math

import pytest
import torch
from helpers import moved_by_one_step

from course_lib.models.hyperprior_vae import hyperprior_vae
from course_lib.models.vae import reparameterise
from course_lib.rng import generator_from
from course_lib.training.recipes import hyperprior_vaes
from course_lib.training.recipes.hyperprior_vaes import PART, FixedRateElbo, evaluate, start_from

FORM = {"hyper_channels": 2, "hyper_width": 4, "channels": (4, 4, 4, 4), "img_size": (1, 32, 32)}


def small(noise_std, seed=2):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return hyperprior_vae(noise_std=noise_std, **FORM)


@pytest.fixture
def x():
    return torch.rand(5, 1, 32, 32, generator=generator_from(1))


@pytest.fixture
def objective(x):
    return FixedRateElbo(small(0.05), x)


def test_loss_is_minus_the_elbo_plus_the_misfit_of_the_head(objective, x):
    """Both in nats per number; white noise of level s at first, with draws of one generator."""
    vae = objective.model
    loss, figures = objective.loss("model", x, done=0.0, generator=generator_from(3))
    generator = generator_from(3)
    q = vae.encode(x)
    rates = vae.rates(q, generator=generator)
    mean = vae.decoder(reparameterise(q, generator))
    white = torch.distributions.Normal(mean, 0.05)
    n = x[0].numel()
    elbo = (white.log_prob(x).flatten(1).sum(1) - rates.h - rates.z).mean() / n
    misfit = -white.log_prob(x)[::PART].mean()
    torch.testing.assert_close(loss, misfit - elbo, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(figures["misfit"], misfit, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(figures["rate_z"], rates.z.mean())


def test_the_head_teaches_nothing_else(objective, x):
    """Its misfit reaches no weight of the VAE: without it their gradients are the same."""
    vae = objective.model
    vae.head.last.weight.data.normal_(0, 0.3, generator=generator_from(5))
    others = [p for name, p in vae.named_parameters() if not name.startswith("head.")]

    def slopes(weight):
        vae.head.last.bias.data[:1] = weight  # another misfit
        loss, _ = objective.loss("model", x, done=0.0, generator=generator_from(3))
        return torch.autograd.grad(loss, others, allow_unused=True)

    for one, two in zip(slopes(1.0), slopes(3.0), strict=True):
        assert (one is None) == (two is None)
        assert one is None or torch.equal(one, two)


def test_one_step_moves_every_part_but_not_the_noise_level(objective, x, tmp_path):
    moved = moved_by_one_step(objective, x, tmp_path)
    parts = {name.split(".")[0] for name in moved}
    assert {"encoder", "decoder", "hyper_decoder", "head"} <= parts
    assert "noise_std" not in moved


def test_the_second_rate_starts_from_the_first(monkeypatch):
    first, second = small(0.03), small(0.06, seed=7)
    monkeypatch.setattr(hyperprior_vaes, "load_pretrained", lambda name: first)
    start_from("first")(second)
    assert second.noise_std == torch.tensor(0.06)
    for key, value in first.state_dict().items():
        assert key == "noise_std" or torch.equal(second.state_dict()[key], value)


def test_figures_of_a_fresh_model(x):
    """It reconstructs all; rates and bounds are those of the model."""
    vae = small(0.05).eval()
    FixedRateElbo(vae, x)  # white noise at first
    found = {key: figure.value for key, figure in evaluate(vae, x).items()}
    assert found["reconstruction"] > 100
    bits = (found["rate_h"] + found["rate_z"]) / x[0].numel() / math.log(2)
    assert found["bits"] == pytest.approx(bits)
    assert found["elbo"] == pytest.approx(found["elbo_white"], abs=1e-4)  # L = I / s
    assert found["latents"] == 64 * 4 * 4 + 2 * 2 * 2
    assert found["noise_std"] == pytest.approx(0.05)
