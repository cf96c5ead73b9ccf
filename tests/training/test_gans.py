"""The game of two networks: its value at equality, its penalty, and the count of modes."""

import math

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


def test_players_pull_in_opposite_directions():
    """Without the penalty: what lowers one loss raises the other, to first order at D = const."""
    gan = small()
    game = RelativisticGame(gan, real(8), penalty=0.0)
    gap = {}
    for player in game.players():
        loss, _ = game.loss(player, real(8), done=0.0, generator=generator_from(0))
        gap[player] = loss.exp().sub(1).item()
    # softplus(t) and softplus(-t) averaged over nearly equal gaps: (e^a - 1)(e^b - 1) = 1.
    assert math.isclose(gap["discriminator"] * gap["generator"], 1, rel_tol=1e-2)


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
