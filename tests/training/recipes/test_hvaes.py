"""What the objective of the hierarchies pays for, group by group."""

import pytest
import torch
from helpers import moved_by_one_step
from torch.distributions import Normal

from course_lib.models.stacked_vae import stacked_vae
from course_lib.rng import generator_from
from course_lib.training.recipes import hvaes
from course_lib.training.recipes.hvaes import CoarseFirst, openness


@pytest.fixture
def model():
    torch.manual_seed(0)
    return stacked_vae(
        dec_blocks="1x4,8m1,16m8",
        latents={"1": 2, "8": 2, "16": 1},
        channels=(4, 6, 8),
        width=12,
        blocks=1,
        tail=4,
    )


@pytest.fixture
def x():
    return torch.rand(16, 1, 64, 64, generator=generator_from(1))


def gradients(model, x, done):
    model.zero_grad()
    objective = CoarseFirst(model, x, noise_floor=0.05)
    loss, figures = objective.loss("model", x, done=done, generator=generator_from(0))
    loss.backward()
    return loss, figures


def touched(module) -> bool:
    return any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_groups_open_from_coarse_to_fine():
    assert openness(1, 0.0) == 1.0
    assert openness(8, 0.0) == openness(16, 0.05) == 0.0
    assert 0 < openness(8, 0.05) < 1
    assert openness(8, 0.5) == openness(16, 0.5) == 1.0


def test_a_shut_group_costs_nothing_and_learns_no_posterior(model, x):
    _, figures = gradients(model, x, 0.0)
    assert figures["rate_8"] == figures["rate_16"] == 0
    assert not touched(model.decoder.dec_blocks[4].enc)
    assert not touched(model.decoder.dec_blocks[5].enc)
    _, figures = gradients(model, x, 0.9)
    assert touched(model.decoder.dec_blocks[4].enc)


def test_without_cuts_the_loss_is_the_bound(model, x, monkeypatch):
    """All images decoded, no cut, noise at the residual: -ELBO / n for one noise level."""
    monkeypatch.setattr(hvaes, "CUT", {8: 0.0, 16: 0.0})
    objective = CoarseFirst(model, x, noise_floor=0.0)
    monkeypatch.setattr(objective, "_rate_of_vector", lambda *_: torch.zeros(()))
    monkeypatch.setattr(hvaes, "WHOLE", 1)
    loss, figures = objective.loss("model", x, done=0.9, generator=generator_from(0))
    rates = figures["rate_1"] + figures["rate_8"] + figures["rate_16"]
    # 1/2 for the residual at its own scale, the rates, and the misfit of the scales.
    expected = 0.5 + rates / 4096 + figures["misfit"]
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("cut", "floor"), [(0.0, 0.6), (1.0, 1.2)])
def test_below_the_floor_the_residual_is_cheap(model, x, monkeypatch, cut, floor):
    """mse / (2 floor^2), and twice the floor in images that are cut, whose scales do not count."""
    monkeypatch.setattr(hvaes, "CUT", {8: 0.0, 16: cut})
    monkeypatch.setattr(hvaes, "WHOLE", 1)
    objective = CoarseFirst(model, x, noise_floor=0.6)
    monkeypatch.setattr(objective, "_rate_of_vector", lambda *_: torch.zeros(()))
    loss, figures = objective.loss("model", x, done=0.9, generator=generator_from(0))
    assert figures["rmse"] < 0.6
    rates = figures["rate_1"] + figures["rate_8"] + (0 if cut else figures["rate_16"])
    assert (figures["misfit"] == 0) == (cut == 1)
    expected = 0.5 * figures["rmse"] ** 2 / floor**2 + rates / 4096 + figures["misfit"]
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-5, atol=1e-6)


def test_a_group_that_is_half_open_says_half(model, x, monkeypatch):
    """The latent is the mean of the prior plus `openness` times the departure of the draw."""
    for parameter in model.decoder.parameters():  # the means of a fresh prior are all 0
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator_from(2))
    monkeypatch.setattr(hvaes, "openness", lambda side, done: 0.5)
    monkeypatch.setattr(hvaes, "reparameterise", lambda q, generator: torch.ones_like(q.mean))
    monkeypatch.setattr(CoarseFirst, "_rate_of_vector", lambda *_: torch.zeros(()))
    monkeypatch.setattr(hvaes, "CUT", {16: 0.0})
    descend, latents = model.decoder.descend, []

    def watched(draw, n, **options):
        def watch(index, state, prior):
            latents.append((prior.mean, draw(index, state, prior)))
            return latents[-1][1]

        return descend(watch, n, **options)

    monkeypatch.setattr(model.decoder, "descend", watched)
    objective = CoarseFirst(model, x, noise_floor=0.05)
    objective.loss("model", x, done=0.5, generator=generator_from(0))
    assert len(latents) == len(model.sides)
    assert max(mean.abs().max() for mean, _ in latents) > 0.01
    for mean, latent in latents:
        torch.testing.assert_close(latent, mean + 0.5 * (1 - mean))


def test_rate_of_the_vector_is_part_of_the_loss(model, x, monkeypatch):
    """In nats per dimension; a quarter of the images is decoded, the others train the vector."""
    objective, sizes = CoarseFirst(model, x, noise_floor=0.05), []
    losses = []
    for nats in (0.0, 4096.0):
        rate = lambda x, _, nats=nats: sizes.append(len(x)) or torch.tensor(nats)  # noqa: E731
        monkeypatch.setattr(objective, "_rate_of_vector", rate)
        losses.append(objective.loss("model", x, done=0.5, generator=generator_from(0))[0])
    torch.testing.assert_close(losses[1] - losses[0], torch.tensor(1.0), rtol=1e-5, atol=0)
    assert sizes == [12, 12]


def test_one_step_moves_the_network(model, x, tmp_path):
    """At the start the finer groups are shut: their posteriors stay, the others move."""
    moved = moved_by_one_step(CoarseFirst(model, x, noise_floor=0.05), x, tmp_path)
    stages = {name.split(".")[0] for name in moved}
    assert stages == {"encoder", "decoder"}
    assert not any(name.startswith("decoder.dec_blocks.5.enc") for name in moved)
    assert any(name.startswith("decoder.dec_blocks.3.enc") for name in moved)


def test_misfit_trains_the_scale_alone(model, x):
    """p(x | z) has a scale for each pixel; its likelihood does not move the mean or the latents."""
    objective = CoarseFirst(model, x, noise_floor=0.05)
    p = model.decode(model.encode(x[:2], generator=generator_from(0)).latents)
    (-Normal(p.mean.detach(), p.stddev).log_prob(x[:2])).sum().backward()
    head = model.decoder.out_net
    assert touched(head.scale)
    assert not touched(head.mean)
    assert not touched(model.encoder)
    assert objective.model is model


def test_images_that_train_the_vector_do_not_pull_at_its_posterior(model, x):
    """The rate would push q to the prior, and no image is there to hold it."""
    objective = CoarseFirst(model, x, noise_floor=0.05)
    model.zero_grad()
    for group in model.decoder.dec_blocks[:4]:
        for head in (group.enc, group.prior):
            head[-1].weight.data.normal_(generator=generator_from(3)).mul_(0.1)
    objective._rate_of_vector(x, generator_from(0)).backward()
    groups = model.decoder.dec_blocks
    assert [touched(group.enc) for group in groups[:4]] == [True, True, False, False]
    assert all(touched(group.prior) for group in groups[:4])
    assert not touched(model.encoder)
