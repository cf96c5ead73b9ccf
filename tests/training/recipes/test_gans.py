"""The game of two networks: its value at equality, its penalty, and the count of modes."""

import math

import pytest
import torch

from course_lib.models import GAN
from course_lib.rng import generator_from
from course_lib.training import Settings, train
from course_lib.training.recipes.gans import RelativisticGame, squared_slope


def small(**changes) -> GAN:
    torch.manual_seed(0)
    return GAN(latent_dim=5, channels=(12, 8, 6), critic_channels=(4, 6), **changes)


def real(n: int) -> torch.Tensor:
    return torch.rand(n, 1, 16, 16, generator=generator_from(2))


def test_value_where_nothing_can_be_told():
    """If D is constant, softplus(0) = log 2 for both players, and the slope is zero."""
    gan = small()
    for parameter in gan.discriminator.parameters():
        parameter.data.zero_()
    game = RelativisticGame(gan, real(8))
    for player in game.players():
        loss, _ = game.loss(player, real(8), done=0.0, generator=generator_from(0))
        torch.testing.assert_close(loss.item(), math.log(2), rtol=1e-6, atol=0)


def logits(game: RelativisticGame, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """D of the real images, and of those drawn by the generator of seed 0."""
    z = game.model.prior(len(x), generator=generator_from(0))
    return game.model.discriminate(x), game.model.discriminate(game.model.decode(z).mean)


def test_losses_by_hand():
    """softplus(D(G(z)) - D(x)) + penalty / 2 (|grad D(x)|^2 + |grad D(G(z))|^2); softplus(-.)."""
    gan, x = small(), real(16)
    for parameter in gan.discriminator.parameters():
        parameter.data.mul_(3)  # so that the slope counts
    game = RelativisticGame(gan, x, penalty=0.7)
    found = {
        player: game.loss(player, x, done=0.0, generator=generator_from(0))[0]
        for player in game.players()
    }
    true, drawn = logits(game, x)
    z = gan.prior(16, generator=generator_from(0))
    few = (x[:2], gan.decode(z).mean[:2].detach())  # an eighth of the batch
    slopes = []
    for images in few:
        images.requires_grad_()
        (slope,) = torch.autograd.grad(gan.discriminate(images).sum(), images)
        slopes.append(slope.square().sum() / 2)
    assert sum(slopes) > 0.01
    expected = (1 + (drawn - true).exp()).log().mean() + 0.7 / 2 * sum(slopes)
    torch.testing.assert_close(found["discriminator"], expected)
    torch.testing.assert_close(found["generator"], (1 + (true - drawn).exp()).log().mean())


def test_the_penalty_of_the_recipe():
    assert RelativisticGame(small(), real(8)).penalty == 0.05


@pytest.mark.parametrize(("player", "direction"), [("discriminator", 1), ("generator", -1)])
def test_a_step_of_a_player_moves_the_gap_its_way(player, direction):
    """D(x) - D(G(z)) grows by a step of the discriminator, and falls by one of the generator."""
    game, x = RelativisticGame(small(), real(16), penalty=0.0), real(16)
    loss, _ = game.loss(player, x, done=0.0, generator=generator_from(0))
    own = game.players()[player]
    slopes = torch.autograd.grad(loss, own)
    true, drawn = logits(game, x)
    before = (true - drawn).mean().item()
    with torch.no_grad():
        for parameter, slope in zip(own, slopes, strict=True):
            parameter -= 1e-2 * slope
        true, drawn = logits(game, x)
    assert direction * ((true - drawn).mean().item() - before) > 0


def test_only_the_generator_is_reached_by_its_loss():
    """The discriminator's loss takes drawn images as given."""
    game, x = RelativisticGame(small(), real(8)), real(8)
    loss, _ = game.loss("discriminator", x, done=0.0, generator=generator_from(0))
    slopes = torch.autograd.grad(loss, game.players()["generator"], allow_unused=True)
    assert all(slope is None for slope in slopes)


def test_the_discriminator_centres_its_images():
    """The first convolution sees 2 x - 1: zeros for grey 1/2, ones for white."""
    gan, x, seen = small(), real(2), []
    gan.discriminator.stages[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    for images in (torch.full_like(x, 0.5), torch.ones_like(x), x):
        gan.discriminate(images)
    for found, expected in zip(seen, (0 * x, 0 * x + 1, 2 * x - 1), strict=True):
        torch.testing.assert_close(found, expected)


def test_squared_slope_against_finite_differences():
    gan = small().double()
    x = real(2).double()
    epsilon = 1e-6
    total = 0.0
    for image in x:
        moved = image + epsilon * torch.eye(256, dtype=x.dtype).view(256, 1, 16, 16)
        back = image - epsilon * torch.eye(256, dtype=x.dtype).view(256, 1, 16, 16)
        with torch.no_grad():
            slope = (gan.discriminate(moved) - gan.discriminate(back)) / (2 * epsilon)
        total += slope.square().sum().item()
    # Central differences err by eps^2, and rounding by 1e-16 / eps: 1e-9 relative at most.
    torch.testing.assert_close(squared_slope(gan, x, None).item(), total / 2, rtol=1e-6, atol=0)


def test_each_player_moves_its_own_weights(tmp_path):
    gan = small()
    before = {name: value.clone() for name, value in gan.named_parameters()}
    settings = Settings(steps=2, batch_size=8, warm_up=0, precision="float32", betas=(0.0, 0.99))
    trained = train(RelativisticGame(gan, real(8)), real(32), settings, tmp_path, progress=False)
    moved = {
        name.split(".")[0]
        for name, value in trained.raw.named_parameters()
        if not torch.equal(value, before[name])
    }
    assert moved == {"generator", "discriminator"}
    assert {"gap", "loss_generator", "loss_discriminator"} <= trained.history[-1].keys()


def test_labels_reach_both_players(tmp_path):
    gan = small(classes=4)
    game = RelativisticGame(gan, real(8))
    label = torch.arange(8) % 4
    for player in game.players():
        loss, _ = game.loss(player, (real(8), label), done=0.0, generator=generator_from(0))
        embedding = getattr(gan, player).embedding.weight
        (gradient,) = torch.autograd.grad(loss, embedding)
        assert gradient.abs().min(1).values.min() > 0, player
