"""The denoising loss against its formula, and whether samples are copies."""

import pytest
import torch
from helpers import moved_by_one_step

from course_lib.data import load_crops
from course_lib.data.views import Halved
from course_lib.data.worlds import load_world
from course_lib.models import unet_denoiser
from course_lib.rng import generator_from
from course_lib.training.recipes import find_recipe
from course_lib.training.recipes.diffusion import NOISE, DenoisingLoss, nearest


def denoiser():
    torch.manual_seed(0)
    model = unet_denoiser(
        data_mean=0.45, data_std=0.2, channels=[8, 8], blocks=1, img_size=[1, 8, 8]
    )
    for parameter in model.parameters():  # the last layer begins at zero
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def test_loss_by_hand():
    """mean |F - F*|^2 with F = (D - c_skip x) / c_out and F* = (x_0 - c_skip x) / c_out."""
    model, x = denoiser(), torch.rand(5, 1, 8, 8, generator=generator_from(1))
    loss, figures = DenoisingLoss(model, x).loss("model", x, done=0.5, generator=generator_from(2))
    g = generator_from(2)
    mean, std = NOISE
    sigma = 0.2 * (mean + std * torch.randn(5, generator=g)).exp()
    noisy = x + sigma[:, None, None, None] * torch.randn(x.shape, generator=g)
    output = model(noisy, sigma)
    c_out = sigma * 0.2 / (sigma**2 + 0.2**2).sqrt()
    per_number = ((output - x) / c_out[:, None, None, None]).square().mean()
    torch.testing.assert_close(loss, per_number)
    torch.testing.assert_close(figures["mse"], (output - x).square().mean().detach())


def test_best_white_denoiser_has_loss_one():
    """Where F = 0, on data of the stated mean and deviation, the loss is that of a unit target."""
    model = denoiser()
    for parameter in model.network.parameters():
        parameter.data.zero_()
    x = 0.45 + 0.2 * torch.randn(64, 1, 8, 8, generator=generator_from(3))
    loss, _ = DenoisingLoss(model, x).loss("model", x, done=0.0, generator=generator_from(4))
    # 4096 squares of standard normal numbers: a standard error of sqrt(2 / 4096) = 2.2 %
    assert loss.item() == pytest.approx(1, abs=0.1)


def test_one_step_moves_the_network(tmp_path):
    x = torch.rand(4, 1, 8, 8, generator=generator_from(1))
    model = denoiser()
    moved = moved_by_one_step(DenoisingLoss(model, x), x, tmp_path)
    assert moved >= {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("name", ["plates", "portraits"])
def test_denoisers_are_told_the_true_mean_and_deviation(name):
    """Of the pixels of their world at half resolution: a wrong deviation destroys samples."""
    arguments = find_recipe(f"diffusion_{name}32").arguments
    x = Halved(load_world(name, "test", 64, progress=False))[torch.arange(64)]
    # 64 images, whose mean brightness varies by 0.1: 0.0125 of the mean, more of its extremes
    assert x.mean().item() == pytest.approx(arguments["data_mean"], abs=0.04)
    assert x.std().item() == pytest.approx(arguments["data_std"], abs=0.02)


def test_nearest_training_image():
    """A copy has distance 0, a copy that is brighter by d has distance d."""
    images = load_crops(20).images
    found = nearest(images[3:5] + torch.tensor([0.0, 0.01])[:, None, None, None], images)
    # distances come from |a|^2 - 2 <a, b> + |b|^2 in float32, of numbers of size 1000
    torch.testing.assert_close(found, torch.tensor([0.0, 0.01]), rtol=0.05, atol=5e-4)
