"""SSIM's three factors, and MS-SSIM against a plain implementation in numpy."""

import math

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d

from course_lib.metrics import ms_ssim, ssim, ssim_factors

PUBLISHED = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def pair(generator, channels=1, size=(24, 31), batch=2, noise=0.1):
    """Smooth enough that no scale is anticorrelated."""
    truth = torch.rand(batch, channels, *size, generator=generator, dtype=torch.float64)
    truth = 3 * torch.nn.functional.avg_pool2d(truth, 5, stride=1, padding=2) - 1
    draw = torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    return truth + noise * draw, truth


def plain_ms_ssim(x, y, scales, data_range):
    """One channel: 2-D windows, and halving pixel by pixel with the border repeated."""
    t = np.arange(-5, 6)
    window = np.exp(-(t[:, None] ** 2 + t**2) / (2 * 1.5**2))
    window /= window.sum()

    def local(u):
        return correlate2d(u, window, mode="valid")

    def half(u):
        u = np.pad(u, [(0, s % 2) for s in u.shape], mode="edge")
        return (u[::2, ::2] + u[1::2, ::2] + u[::2, 1::2] + u[1::2, 1::2]) / 4

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    weights = np.array(PUBLISHED[:scales])
    weights = weights if scales == 5 else weights / weights.sum()
    score = 1.0
    for j in range(scales):
        if j > 0:
            x, y = half(x), half(y)
        mx, my = local(x), local(y)
        sxy, sxx, syy = local(x * y) - mx * my, local(x * x) - mx**2, local(y * y) - my**2
        factor = (2 * sxy + c2) / (sxx + syy + c2)
        if j == scales - 1:
            factor = factor * (2 * mx * my + c1) / (mx**2 + my**2 + c1)
        score *= max(factor.mean(), 0) ** weights[j]
    return score


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_the_factors_multiply_to_ssim(channels, data_range, generator):
    estimate, truth = (data_range * u for u in pair(generator, channels))
    factors = ssim_factors(estimate, truth, data_range=data_range)
    assert all(f.shape == (2, channels, 14, 21) for f in factors)
    product = (factors.luminance * factors.contrast * factors.structure).flatten(1).mean(1)
    assert torch.allclose(product, ssim(estimate, truth, data_range=data_range), rtol=0, atol=1e-12)


def test_each_factor_sees_its_own_change(generator):
    """Brightness, contrast and noise move luminance, contrast and structure in turn."""
    _, truth = pair(generator, size=(40, 40), batch=1)
    mean = truth.mean()
    brighter = ssim_factors(truth + 0.2, truth)
    assert torch.allclose(brighter.contrast, torch.ones(()).double(), atol=1e-12)
    assert torch.allclose(brighter.structure, torch.ones(()).double(), atol=1e-12)
    assert brighter.luminance.mean() < 0.95
    flatter = ssim_factors(mean + 0.5 * (truth - mean), truth)
    assert torch.allclose(flatter.structure, torch.ones(()).double(), atol=0.02)
    assert flatter.contrast.mean() == pytest.approx(0.8, abs=0.02)  # 2 r / (1 + r^2), r = 1/2
    negative = ssim_factors(2 * mean - truth, truth)
    assert negative.structure.mean() < -0.9
    for factors in (brighter, flatter, negative):
        assert (factors.luminance <= 1).all()
        assert (factors.contrast > 0).all()
        assert (factors.structure.abs() <= 1 + 1e-12).all()


def test_factors_of_flat_images():
    flat = torch.ones(1, 1, 12, 12)
    factors = ssim_factors(0.3 * flat, 0.5 * flat)
    assert factors.luminance.mean().item() == pytest.approx(0.88239, abs=1e-5)
    assert factors.contrast.mean().item() == pytest.approx(1, abs=1e-3)  # float32 rounding


@pytest.mark.parametrize("scales", [1, 3, 5])
@pytest.mark.parametrize("size", [(176, 192), (161, 173)])
@pytest.mark.parametrize("channels", [1, 3])
def test_ms_ssim_equals_a_plain_implementation(channels, size, scales, generator):
    estimate, truth = (255 * u for u in pair(generator, channels, size, batch=1))
    found = ms_ssim(estimate, truth, data_range=255.0, scales=scales)
    expected = np.mean(
        [plain_ms_ssim(*(u[0, c].numpy() for u in (estimate, truth)), scales, 255.0)
         for c in range(channels)]
    )  # fmt: skip
    assert found.item() == pytest.approx(expected, abs=1e-12)
    assert 0 < found.item() < 1


def test_ms_ssim_identities(generator):
    estimate, truth = pair(generator, size=(161, 161), batch=3)
    assert torch.allclose(ms_ssim(truth, truth), torch.ones(3).double(), rtol=0, atol=1e-13)
    forth, back = ms_ssim(estimate, truth), ms_ssim(truth, estimate)
    assert torch.allclose(forth, back, rtol=1e-13)
    assert torch.allclose(forth[1:2], ms_ssim(estimate[1:2], truth[1:2]), rtol=1e-12)
    assert torch.allclose(ms_ssim(estimate, truth, scales=1), ssim(estimate, truth), rtol=1e-13)
    assert ms_ssim(estimate.float(), truth.float()).dtype == torch.float32


def test_ms_ssim_of_flat_images_is_the_coarsest_luminance():
    flat = torch.ones(1, 1, 161, 161, dtype=torch.float64)
    luminance = (2 * 0.15 + 1e-4) / (0.34 + 1e-4)
    found = ms_ssim(0.3 * flat, 0.5 * flat).item()
    assert found == pytest.approx(luminance**0.1333, rel=1e-9)


def test_anticorrelated_scales_count_as_zero_and_keep_the_gradient_finite(generator):
    _, truth = pair(generator, size=(48, 48), batch=1)
    negative = (1 - truth).requires_grad_()
    value = ms_ssim(negative, truth, scales=2)
    assert value.item() == 0
    assert torch.autograd.grad(value.sum(), negative)[0].isfinite().all()


def test_gradients_flow(generator):
    estimate, truth = pair(generator, size=(23, 22), batch=1)
    estimate.requires_grad_()
    for metric in (
        lambda u: ms_ssim(u, truth, scales=2),
        lambda u: math.prod(f.mean() for f in ssim_factors(u, truth)),
    ):
        assert torch.autograd.gradcheck(metric, estimate, fast_mode=True)


@pytest.mark.parametrize(
    ("side", "scales", "remedy"),
    [(160, 5, "Use scales=4"), (64, 5, "Use scales=3"), (40, 3, "Use scales=2")],
)
def test_small_images_say_how_many_scales_fit(side, scales, remedy):
    image = torch.zeros(1, 1, side, 300)
    with pytest.raises(ValueError, match=f"has only {side}. {remedy}: the weights are renorm"):
        ms_ssim(image, image, scales=scales)
    fitting = int(remedy[-1])
    assert ms_ssim(image, image, scales=fitting).item() == 1


def test_bad_scales():
    image = torch.zeros(1, 1, 200, 200)
    for scales in (0, 6):
        with pytest.raises(ValueError, match=f"expected scales from 1 to 5, got {scales}"):
            ms_ssim(image, image, scales=scales)
    with pytest.raises(ValueError, match="one scale does not fit either"):
        ms_ssim(image[..., :10, :10], image[..., :10, :10], scales=1)
