"""The denoiser is what its formula says, at every noise level and size."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import silu

from course_lib.exact import power_law
from course_lib.models import PreconditionedDenoiser, unet_denoiser
from course_lib.models.denoiser import NoiseBlock
from course_lib.rng import generator_from, normal_like
from course_lib.training.recipes.diffusion import DenoisingLoss


class History(nn.Module):
    """A network that keeps what it was asked and answers with a given image."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.seen = answer, None

    def forward(self, x, level):
        self.seen = x, level
        return self.answer(x, level)


def small(**changes):
    torch.manual_seed(0)
    model = unet_denoiser(data_mean=0.45, data_std=0.2, channels=[8, 16], blocks=1, **changes)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)  # a fresh one has zeros inside
    return model.eval()


def test_a_silent_network_is_the_white_gaussian_denoiser(generator):
    """With F = 0, D = m + s^2 / (s^2 + sigma^2) (x - m), exactly."""
    model = PreconditionedDenoiser(
        History(lambda x, _: 0 * x), data_mean=0.4, data_std=0.2, img_size=(1, 4, 4)
    )
    x = torch.rand(3, 1, 4, 4, generator=generator, dtype=torch.float64)
    sigma = torch.tensor([0.01, 0.2, 5.0], dtype=torch.float64)
    gain = (0.04 / (0.04 + sigma**2))[:, None, None, None]
    torch.testing.assert_close(model(x, sigma), 0.4 + gain * (x - 0.4), rtol=1e-14, atol=0)


def test_input_and_target_of_the_network_have_unit_variance():
    """For white Gaussian data of the true deviation, at every noise level."""
    shape, m, s = (400, 1, 8, 8), 0.4, 0.2
    clean = m + s * torch.randn(shape, generator=generator_from(0), dtype=torch.float64)
    for sigma in (0.01, 0.2, 3.0):
        network = History(lambda x, _: 0 * x)
        model = PreconditionedDenoiser(network, data_mean=m, data_std=s, img_size=shape[1:])
        noisy = clean + sigma * normal_like(clean, generator_from(1))
        skipped = model(noisy, sigma)
        c_out = sigma * s / (sigma**2 + s**2) ** 0.5
        target = (clean - skipped) / c_out
        # 25 600 numbers: relative error of a variance sqrt(2 / 25600) = 0.009
        assert network.seen[0].var().item() == pytest.approx(1, abs=0.04)
        assert target.var().item() == pytest.approx(1, abs=0.04)


def test_weight_of_the_loss_cancels_the_scale_of_the_output(generator):
    """The loss is the mean square of F - target: its weight times c_out^2 is 1."""
    network = History(lambda x, _: 0.3 * x)
    model = PreconditionedDenoiser(network, data_mean=0.4, data_std=0.2, img_size=(1, 8, 8))
    clean = torch.rand(16, 1, 8, 8, generator=generator, dtype=torch.float64)
    loss, _ = DenoisingLoss(model, clean).loss("model", clean, done=0.0, generator=generator)
    y, level = network.seen
    sigma = 0.2 * (4 * level).exp()[:, None, None, None]
    spread = (sigma**2 + 0.04).sqrt()
    noisy = 0.4 + spread * y
    target = (clean - 0.4 - 0.04 / spread**2 * (noisy - 0.4)) * spread / (0.2 * sigma)
    torch.testing.assert_close(loss, (0.3 * y - target).square().mean(), rtol=1e-10, atol=0)


def test_the_loss_is_least_at_the_best_denoiser():
    """In the Gaussian world the exact denoiser beats scaled versions of itself."""
    world = power_law((1, 8, 8), std=0.2, mean=0.4)
    x = world.sample(500, generator=generator_from(0))

    class Scaled(nn.Module):
        data_std = 0.2

        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, x, sigma):
            return 0.4 + self.factor * (world(x, sigma) - 0.4)

    losses = [
        DenoisingLoss(Scaled(f), x).loss("model", x, done=0.0, generator=generator_from(1))[0]
        for f in (0.97, 1.0, 1.03)
    ]
    assert losses[1] < losses[0]
    assert losses[1] < losses[2]


def test_denoising_learns_the_score():
    """The best linear network on Gaussian images is their exact denoiser, and so is the score."""
    img_size, sigma, s = (1, 4, 4), 0.15, 0.2
    world = power_law(img_size, std=s, mean=0.4)
    clean = world.sample(200_000, generator=generator_from(0))
    noisy = clean + sigma * normal_like(clean, generator_from(1))
    spread = (sigma**2 + s**2) ** 0.5
    y, skipped = (noisy - 0.4) / spread, 0.4 + (s / spread) ** 2 * (noisy - 0.4)
    target = (clean - skipped) * spread / (sigma * s)
    weights = torch.linalg.lstsq(y.flatten(1), target.flatten(1)).solution  # where training ends
    model = PreconditionedDenoiser(
        History(lambda x, _: (x.flatten(1) @ weights).view_as(x)),
        data_mean=0.4,
        data_std=s,
        img_size=img_size,
    )
    x = world.sample(100, generator=generator_from(2), sigma=sigma)
    score, exact = ((D(x, sigma) - x) / sigma**2 for D in (model, world))
    # 16 weights an output from 200 000 draws: an error of sqrt(16 / 200 000) = 0.9 %
    assert (score - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("img_size", [(1, 32, 32), (1, 64, 64), (3, 16, 24)])
def test_unet_at_several_sizes(img_size, generator):
    model = small(img_size=img_size)
    x = torch.rand(3, *img_size, generator=generator)
    sigma = torch.tensor([0.01, 0.3, 4.0])
    with torch.no_grad():
        found = model(x, sigma)
        assert found.shape == x.shape
        # Rows do not see each other: only the order of sums differs.
        torch.testing.assert_close(found[1:2], model(x[1:2], 0.3), rtol=1e-4, atol=1e-5)


def test_every_parameter_is_used(generator):
    model = small(img_size=(1, 16, 16)).train()
    x = torch.rand(4, 1, 16, 16, generator=generator)
    loss, _ = DenoisingLoss(model, x).loss("model", x, done=0.0, generator=generator)
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_attention_needs_no_order(generator):
    """Rolling the image by whole cells of the coarsest grid rolls what the middle sees."""
    model = small(img_size=(1, 16, 16))
    x = torch.rand(1, 8, 4, 4, generator=generator)
    attention = model.network.bottom[1]
    wide = x.repeat(1, 2, 1, 1)  # 16 channels
    with torch.no_grad():
        rolled = attention(wide.roll((1, 2), (2, 3)))
        torch.testing.assert_close(rolled, attention(wide).roll((1, 2), (2, 3)))


def test_refusals(generator):
    model = small(img_size=(1, 16, 16))
    with pytest.raises(ValueError, match=r"expected images of shape \(B, 1, H, W\)"):
        model(torch.rand(1, 3, 16, 16), 0.1)
    with pytest.raises(ValueError, match="multiples of 2"):
        model(torch.rand(1, 1, 15, 16), 0.1)


def test_the_network_is_given_the_noise_in_units_of_the_data(generator):
    """F(y, log(sigma / s) / 4), and D = c_skip (x - m) + m + sigma s / sqrt(sigma^2 + s^2) F."""
    network = History(lambda x, _: torch.ones_like(x))
    model = PreconditionedDenoiser(network, data_mean=0.4, data_std=0.2, img_size=(1, 4, 4))
    x = torch.rand(2, 1, 4, 4, generator=generator, dtype=torch.float64)
    found = model(x, torch.tensor([0.2, 2.0], dtype=torch.float64))
    torch.testing.assert_close(network.seen[1], torch.tensor([0.0, math.log(10) / 4]).double())
    for i, sigma in enumerate((0.2, 2.0)):
        spread = math.sqrt(sigma**2 + 0.04)
        expected = 0.4 + 0.04 / spread**2 * (x[i] - 0.4) + 0.2 * sigma / spread
        torch.testing.assert_close(found[i], expected)


def test_a_block_is_scaled_by_one_plus_what_the_noise_says(generator):
    block = NoiseBlock(8, 8, 4).double()
    nn.init.normal_(block.second.weight)
    x, noise = torch.randn(2, 8, 5, 5, generator=generator).double(), torch.zeros(2, 4).double()
    block.modulate.bias.data.zero_()
    plain = x + block.second(silu(block.norm(block.first(silu(x)))))
    torch.testing.assert_close(block(x, noise), plain)
