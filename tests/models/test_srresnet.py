"""SRResNet: the published size, where pixels come from, and what it can learn."""

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from course_lib.metrics import psnr
from course_lib.models import SRResNet
from course_lib.models.srresnet import Doubling
from course_lib.rng import generator_from


def test_published_number_of_parameters():
    """Ledig et al. 2017: factor 4, 64 channels, 16 blocks, colour."""
    model = SRResNet(factor=4, channels=64, blocks=16, image_channels=3)
    assert sum(p.numel() for p in model.parameters()) == 1_549_462


def test_pixels_out_of_channels():
    """Pixel (2 i + a, 2 j + b) of map c is pixel (i, j) of channel 4 c + 2 a + b."""
    double = Doubling(2)
    double[0] = nn.Identity()
    with torch.no_grad():
        double[2].weight.fill_(1.0)
    maps = torch.randn(3, 8, 4, 5, generator=generator_from(0))
    large = double(maps)
    assert large.shape == (3, 2, 8, 10)
    for c in range(2):
        for a in range(2):
            for b in range(2):
                assert torch.equal(large[:, c, a::2, b::2], maps[:, 4 * c + 2 * a + b])


@pytest.mark.parametrize("factor", [2, 8])
def test_shapes(factor):
    model = SRResNet(factor=factor, channels=4, blocks=1, image_channels=3).eval()
    y = torch.rand(2, 3, 4, 6, generator=generator_from(0))
    x = model(y)
    assert x.shape == (2, 3, 4 * factor, 6 * factor)
    # Convolutions of one image or of two may add in another order: float32 sums of 324 terms.
    torch.testing.assert_close(model(y[1:]), x[1:], rtol=0, atol=1e-5)


def test_learns_four_images_by_heart():
    torch.manual_seed(0)
    model = SRResNet(factor=2, channels=16, blocks=2)
    x = torch.rand(4, 1, 8, 8, generator=generator_from(1))
    x = torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear")
    y = x[..., ::2, ::2]
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(200):
        optimiser.zero_grad()
        mse_loss(model(y), x).backward()
        optimiser.step()
    # In training mode: with four images, the running statistics of the batch lag behind.
    assert psnr(model(y).detach(), x).min() > 40


def test_bad_input():
    with pytest.raises(ValueError, match=r"factor must be 2, 4, 8, .*, got 6"):
        SRResNet(factor=6)
    with pytest.raises(ValueError, match="images of 1 channels, got 3"):
        SRResNet(channels=4, blocks=1)(torch.rand(1, 3, 4, 4))
