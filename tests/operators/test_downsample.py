"""Super-resolution's forward operator: which pixels are kept, and what the prefilter does."""

import pytest
import torch

from course_lib.operators import (
    Blur,
    Downsampling,
    GaussianNoise,
    bicubic_downsampling,
    bicubic_kernel,
    bicubic_upsampling,
    box_kernel,
)
from course_lib.rng import generator_from


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_without_prefilter_the_pixels_s_i_s_j_are_kept(factor, generator):
    u = torch.rand(2, 3, 12, 18, generator=generator, dtype=torch.float64)
    kept = Downsampling((3, 12, 18), factor).A(u)
    assert torch.allclose(kept, u[..., ::factor, ::factor], rtol=0, atol=1e-15)


@pytest.mark.parametrize("factor", [2, 5])
def test_downsampling_is_blur_then_pixels_s_i_s_j(factor, generator):
    kernel = torch.rand(1, 1, 4, 3, generator=generator, dtype=torch.float64)
    u = torch.rand(2, 10, 20, generator=generator, dtype=torch.float64)
    blurred = Blur(kernel, (2, 10, 20)).A(u)
    small = Downsampling((2, 10, 20), factor, kernel).A(u)
    assert torch.allclose(small, blurred[..., ::factor, ::factor], rtol=0, atol=1e-14)


@pytest.mark.parametrize("prefilter", [bicubic_kernel, box_kernel])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_constants_are_preserved(prefilter, factor):
    op = Downsampling((1, 24, 36), factor, prefilter(factor, torch.float64))
    assert torch.allclose(
        op.A(torch.full((1, 24, 36), 0.3, dtype=torch.float64)),
        torch.full(op.measurement_size, 0.3, dtype=torch.float64),
        rtol=0,
        atol=1e-15,
    )


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_box_prefilter_is_the_mean_of_each_block(factor, generator):
    u = torch.rand(2, 24, 36, generator=generator, dtype=torch.float64)
    op = Downsampling((2, 24, 36), factor, box_kernel(factor, torch.float64))
    blocks = u.reshape(2, 24 // factor, factor, 36 // factor, factor).mean((2, 4))
    assert torch.allclose(op.A(u), blocks, rtol=0, atol=1e-15)


def test_published_figures_of_the_bicubic_prefilter():
    """For x4: cond(A A^T) = 4.25, and |h| = 0.2035 is the gain of white noise."""
    kernel = bicubic_kernel(4, torch.float64)
    gain = Downsampling((1, 128, 128), 4, kernel).alias_gain
    assert gain.max() / gain.min() == pytest.approx(4.25, abs=0.005)  # three printed digits
    assert kernel.norm() == pytest.approx(0.2035, abs=5e-5)  # four printed digits


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bicubic_equals_antialiased_resizing_away_from_the_border(factor, generator):
    """torch's antialiased bicubic (a = -1/2, half-pixel centres) is the same filter; it only
    treats the border differently, where ours is periodic."""
    u = torch.rand(1, 1, 24 * factor, 24 * factor, generator=generator, dtype=torch.float64)
    op = Downsampling((1, 24 * factor, 24 * factor), factor, bicubic_kernel(factor, torch.float64))
    resized = torch.nn.functional.interpolate(
        u, (24, 24), mode="bicubic", antialias=True, align_corners=False
    )
    inside = (..., slice(3, -3), slice(3, -3))
    # torch computes its weights in the image's precision: rounding only.
    assert torch.allclose(op.A(u)[inside], resized[inside], rtol=0, atol=1e-12)


def test_upsampling_the_pseudo_inverse_is_consistent(generator):
    """A A+ y = y: every measurement is explained exactly, because no alias class is empty."""
    op = Downsampling((1, 24, 36), 3, bicubic_kernel(3, torch.float64))
    y = torch.rand(2, *op.measurement_size, generator=generator, dtype=torch.float64)
    assert torch.allclose(op.A(op.A_dagger(y)), y, rtol=0, atol=1e-12)


def test_bicubic_downsampling(generator):
    """Cubic prefilter, wrapped where it does not fit; factor 1 is the identity."""
    x = torch.rand(6, 1, 64, 64, generator=generator)
    expected = Downsampling((1, 64, 64), 8, bicubic_kernel(8)).A(x)
    op = bicubic_downsampling((1, 64, 64), 8, GaussianNoise(0.05))
    assert torch.equal(op.A(x), expected)
    assert bicubic_downsampling((1, 64, 64), 16).measurement_size == (1, 4, 4)
    assert bicubic_downsampling((1, 64, 64), 8).noise_model is None
    torch.testing.assert_close(bicubic_downsampling((1, 64, 64), 1).A(x), x)
    residual = op(x, generator=generator) - expected
    # 384 draws: the standard error of a standard deviation is 1 / sqrt(2 n) = 3.6 % of it.
    assert residual.std().item() == pytest.approx(0.05, rel=0.15)


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
