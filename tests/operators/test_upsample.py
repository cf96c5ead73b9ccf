"""Cubic interpolation as the scaled adjoint of bicubic downsampling."""

import torch

from course_lib.operators import Downsampling, bicubic_kernel, bicubic_upsampling
from course_lib.rng import generator_from


def test_interpolation_keeps_constants_and_waves():
    """Cubic interpolation reproduces constants exactly, and slow waves to third order."""
    flat = torch.full((1, 1, 8, 8), 0.3)
    torch.testing.assert_close(bicubic_upsampling(flat, 4), flat.new_full((1, 1, 32, 32), 0.3))
    # Pixel i of the small image is the centre of a block of four: 4 i + 3 / 2.
    large = torch.arange(32).double()
    small = 4 * torch.arange(8).double() + 1.5
    wave = torch.cos(2 * torch.pi * small / 32).float().expand(1, 1, 8, 8)
    exact = torch.cos(2 * torch.pi * large / 32).float().expand(32, 32)
    # The third derivative of the wave is (2 pi / 8)^3 = 0.48 a sample; the constant is below 1/8.
    assert (bicubic_upsampling(wave, 4)[0, 0] - exact).abs().max() < 0.06


def test_interpolation_is_the_scaled_adjoint():
    op = Downsampling((1, 32, 48), 4, bicubic_kernel(4))
    y = torch.rand(2, 1, 8, 12, generator=generator_from(0))
    torch.testing.assert_close(bicubic_upsampling(y, 4), 16 * op.A_adjoint(y))
