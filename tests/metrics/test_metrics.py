"""Pixel errors and SSIM against closed forms and against scikit-image."""

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from course_lib.metrics import at_psnr, lr_psnr, mse, psnr, rmse, ssim

METRICS = [mse, rmse, psnr, ssim]


def pair(generator, channels=3, size=(23, 31), batch=2):
    truth = torch.rand(batch, channels, *size, generator=generator, dtype=torch.float64)
    noise = torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    return truth + 0.2 * noise, truth


@pytest.mark.parametrize("offset", [0.1, -0.25])
@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_constant_offset(offset, data_range):
    truth = torch.full((2, 1, 12, 12), 0.5, dtype=torch.float64)
    assert torch.allclose(mse(truth + offset, truth), torch.tensor(offset**2).double())
    assert torch.allclose(rmse(truth + offset, truth), torch.tensor(abs(offset)).double())
    expected = 20 * math.log10(data_range / abs(offset))
    found = psnr(truth + offset, truth, data_range=data_range)
    assert found.tolist() == pytest.approx([expected] * 2, rel=1e-12)


def test_a_perfect_estimate(generator):
    _, truth = pair(generator)
    assert torch.equal(mse(truth, truth), torch.zeros(2).double())
    assert torch.equal(psnr(truth, truth), torch.full((2,), torch.inf).double())
    assert torch.allclose(ssim(truth, truth), torch.ones(2).double(), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("a", "b"), [(0.3, 0.5), (0.0, 1.0), (0.7, 0.7)])
def test_ssim_of_constants(a, b):
    """(2 a b + c1) / (a^2 + b^2 + c1), 0.88239 for 0.3 and 0.5."""
    flat = torch.ones(1, 1, 16, 16, dtype=torch.float64)
    expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    assert ssim(a * flat, b * flat).item() == pytest.approx(expected, rel=1e-9)
    if (a, b) == (0.3, 0.5):
        assert expected == pytest.approx(0.88239, abs=5e-6)


def test_ssim_is_symmetric_and_bounded(generator):
    estimate, truth = pair(generator)
    assert torch.allclose(ssim(estimate, truth), ssim(truth, estimate), rtol=1e-13)
    assert (ssim(estimate, truth).abs() < 1).all()
    assert (ssim(1 - truth, truth) < 0).all()  # a negative is anticorrelated


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(11, 11), (23, 31), (64, 40)])
@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_ssim_equals_scikit_image(channels, size, data_range, generator):
    estimate, truth = (data_range * u for u in pair(generator, channels, size))
    for i, found in enumerate(ssim(estimate, truth, data_range=data_range).tolist()):
        maps = structural_similarity(
            truth[i].numpy(),
            estimate[i].numpy(),
            data_range=data_range,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )[1]
        # 1e-6 is the promise; both compute in double precision.
        assert found == pytest.approx(maps[:, 5:-5, 5:-5].mean(), abs=1e-10)


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_equals_scikit_image(channels, generator):
    estimate, truth = pair(generator, channels)
    for i, found in enumerate(psnr(estimate, truth).tolist()):
        expected = peak_signal_noise_ratio(truth[i].numpy(), estimate[i].numpy(), data_range=1.0)
        assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_one_value_an_image(metric, generator):
    estimate, truth = pair(generator, batch=4)
    values = metric(estimate, truth)
    assert values.shape == (4,)
    for i in range(4):
        assert torch.allclose(
            values[i], metric(estimate[i : i + 1], truth[i : i + 1])[0], rtol=1e-12
        )
    shared = metric(estimate, truth[:1])  # one truth, many estimates
    assert torch.allclose(shared, metric(estimate, truth[:1].expand(4, -1, -1, -1)), rtol=1e-14)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_is_kept(metric, dtype, generator):
    estimate, truth = pair(generator)
    assert metric(estimate.to(dtype), truth.to(dtype)).dtype == dtype


def test_single_precision_agrees_with_double(generator):
    estimate, truth = pair(generator)
    single = ssim(estimate.float(), truth.float()).double()
    assert torch.allclose(single, ssim(estimate, truth), rtol=0, atol=1e-5)


def test_the_mean_of_psnrs_is_not_the_psnr_of_the_mean(generator):
    """Jensen: the logarithm makes the mean of decibels the larger one."""
    truth = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    estimate = torch.stack([truth[0] + 0.01, truth[1] + 0.3])
    pooled = -10 * mse(estimate, truth).mean().log10()
    assert psnr(estimate, truth).mean() > pooled + 5


def test_nothing_is_clipped():
    truth = torch.ones(1, 1, 4, 4)
    assert mse(truth + 1, truth).item() == 1


@pytest.mark.parametrize("metric", METRICS)
def test_gradients_flow(metric, generator):
    estimate, truth = pair(generator, size=(12, 11), batch=1)
    assert torch.autograd.gradcheck(
        lambda u: metric(u, truth), estimate.requires_grad_(), fast_mode=True
    )


@pytest.mark.parametrize("metric", METRICS)
def test_wrong_shapes(metric):
    image = torch.zeros(2, 1, 12, 12)
    with pytest.raises(ValueError, match=r"\(B, C, H, W\).*unsqueeze\(0\)"):
        metric(image[0], image[0])
    with pytest.raises(ValueError, match="they must agree"):
        metric(image, torch.zeros(2, 3, 12, 12))
    with pytest.raises(ValueError, match="one truth may serve"):
        metric(image[:1], image)  # many truths for one estimate would hide a mistake


def test_ssim_needs_room_for_its_window():
    with pytest.raises(
        ValueError, match="ssim: the window is 11 x 11 pixels, the image only 10 x 40"
    ):
        ssim(torch.zeros(1, 1, 10, 40), torch.zeros(1, 1, 10, 40))


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize("data_range", [0.0, -1.0, float("nan")])
def test_data_range_must_be_positive(metric, data_range):
    image = torch.zeros(1, 1, 12, 12)
    with pytest.raises(ValueError, match="data_range must be positive"):
        metric(image, image, data_range=data_range)


def test_lr_psnr_looks_at_the_measurement(generator):
    """An error that the measurement cannot see costs nothing, however large."""
    truth, _ = pair(generator, size=(16, 24))

    def forward(u):
        return 0.5 * torch.nn.functional.avg_pool2d(u, 4)

    invisible = torch.ones(16, 24, dtype=torch.float64)
    invisible[::2] = -1
    found = lr_psnr(truth + invisible, forward(truth), forward)
    assert (found > 280).all()
    found = lr_psnr(truth + 0.2, forward(truth), forward, data_range=255.0)
    assert found.tolist() == pytest.approx([20 * math.log10(255 / 0.1)] * 2, rel=1e-12)
    assert torch.equal(lr_psnr(truth, truth, lambda u: u), torch.full((2,), torch.inf).double())


def test_lr_psnr_refuses_a_measurement_of_another_size(generator):
    truth, _ = pair(generator)
    with pytest.raises(ValueError, match=r"lr_psnr: .*they must agree"):
        lr_psnr(truth, truth, lambda u: u[..., ::2, ::2])


def test_at_psnr_moves_along_the_direction_to_the_level(generator):
    x = torch.rand(3, 1, 8, 8, generator=generator, dtype=torch.float64)
    direction = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    moved = at_psnr(x, direction, 22.0)
    torch.testing.assert_close(psnr(moved, x), torch.full((3,), 22.0).double())
    ratio = (moved - x) / direction
    assert (ratio > 0).all()
    assert ratio.flatten(1).std(1).max() < 1e-12
