"""Cubic interpolation as the adjoint of the camera, and TV that looks at the truth."""

import torch

from course_lib.experiments.inversion import camera
from course_lib.experiments.untrained_priors import bicubic, total_variation
from course_lib.metrics import psnr
from course_lib.operators import Denoising
from course_lib.rng import generator_from, normal_like


def test_interpolation_keeps_constants_and_waves():
    """Cubic interpolation reproduces constants exactly, and slow waves to third order."""
    flat = torch.full((1, 1, 8, 8), 0.3)
    torch.testing.assert_close(bicubic(flat, 32), flat.new_full((1, 1, 32, 32), 0.3))
    # Pixel i of the small image is the centre of a block of four: 4 i + 3 / 2.
    large = torch.arange(32).double()
    small = 4 * torch.arange(8).double() + 1.5
    wave = torch.cos(2 * torch.pi * small / 32).float().expand(1, 1, 8, 8)
    exact = torch.cos(2 * torch.pi * large / 32).float().expand(32, 32)
    # The third derivative of the wave is (2 pi / 8)^3 = 0.48 a sample; the constant is below 1/8.
    assert (bicubic(wave, 32)[0, 0] - exact).abs().max() < 0.06


def test_interpolation_is_the_scaled_adjoint():
    op = camera((1, 32, 32), 4)
    y = torch.rand(2, 1, 8, 8, generator=generator_from(0))
    torch.testing.assert_close(bicubic(y, 32), 16 * op.A_adjoint(y))


def test_total_variation_is_no_worse_than_its_start():
    x = torch.zeros(2, 1, 16, 16)
    x[..., 4:12, 4:12] = 1
    y = x + 0.1 * normal_like(x, generator_from(0))
    found = total_variation(Denoising((1, 16, 16)), y, x)
    assert (psnr(found, x) > psnr(y, x) + 3).all()
