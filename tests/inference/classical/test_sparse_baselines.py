"""Lasso and total variation, tuned on other images of the same world."""

import pytest
import torch

from course_lib.functionals import DCT, keep_largest
from course_lib.inference.classical import tuned_baselines
from course_lib.metrics import psnr
from course_lib.operators import CompressedSensing, GaussianNoise


@pytest.fixture(scope="module")
def sparse_world():
    """Images of 16 x 16 with 8 of the lower cosines and a mean, measured; and their baselines."""
    generator = torch.Generator().manual_seed(0)
    size, T, sigma = (1, 16, 16), DCT((1, 16, 16)), 0.01
    c = torch.randn(8, *size, generator=generator)
    c[..., 8:, :] = c[..., 8:] = 0
    x = keep_largest(T.synthesis(c), 8, T)
    x = 0.5 + 0.25 * x / x.abs().amax((1, 2, 3), keepdim=True)
    op = CompressedSensing(60, size, generator, noise_model=GaussianNoise(sigma))
    y = op(x, generator=generator)
    return op, x, y, sigma, tuned_baselines(op, y[:4], y[4:], x[4:], sigma=sigma)


def test_tuned_baselines_find_sparse_images(sparse_world):
    _, x, _, _, baselines = sparse_world
    assert list(baselines) == ["lasso_dct", "lasso_wavelets", "tv"]
    score = {name: psnr(b.x, x[:4]).mean().item() for name, b in baselines.items()}
    # Were the 9 cosines known: 9 sigma^2 for 256 pixels, 54 dB. To find them costs a factor of
    # 2 log 256, 10 dB, and a little. The images are not sparse for the others.
    assert score["lasso_dct"] > 40
    assert max(score["lasso_wavelets"], score["tv"]) < 30
    for b in baselines.values():
        assert b.tuning[b.lam] == max(b.tuning.values())
        assert 0 <= b.x.min() <= b.x.max() <= 1


@pytest.mark.slow
def test_tuned_baselines_are_tuned_on_other_images(sparse_world):
    """What is recovered from y depends on no other y; and lam only on the images to tune on."""
    op, x, y, sigma, together = sparse_world
    alone = tuned_baselines(op, y[1:2], y[4:], x[4:], sigma=sigma)
    for name in together:
        assert together[name].lam == alone[name].lam
        # Single precision, and products of a batch and of one image that round differently.
        assert torch.allclose(together[name].x[1:2], alone[name].x, rtol=0, atol=1e-4)


def test_tuned_baselines_refuse_what_does_not_fit(sparse_world):
    op, x, y, sigma, _ = sparse_world
    with pytest.raises(ValueError, match="got 3 images for 4 measurements"):
        tuned_baselines(op, y[:4], y[4:], x[5:], sigma=sigma)
    with pytest.raises(ValueError, match=r"expected 0 < sigma <= 1.*got 0"):
        tuned_baselines(op, y[:4], y[4:], x[4:], sigma=0.0)
