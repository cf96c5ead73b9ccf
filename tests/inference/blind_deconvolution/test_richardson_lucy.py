"""Blind Richardson-Lucy: scikit-image's iteration, conservation of light, likelihood."""

import numpy as np
import pytest
import torch
from blind_world import F64, kernels
from skimage.restoration import richardson_lucy

from course_lib.inference.blind_deconvolution import (
    blind_richardson_lucy,
)
from course_lib.operators import Blur, BlurEach
from course_lib.rng import generator_from


def test_the_image_of_richardson_and_lucy_is_scikit_images():
    """Theirs is not periodic: on a tiling of 3 x 3 the middle does not feel the border."""
    x = torch.rand(1, 1, 16, 16, generator=generator_from(13), dtype=F64) + 0.1
    h = kernels(1, (3, 3))
    y = Blur(h, (1, 16, 16)).A(x)
    start = torch.zeros(1, 1, 3, 3, dtype=F64)
    start[..., 1, 1] = 1
    ours = blind_richardson_lucy(y, 3, start, n_outer=1, n_inner=4)  # the identity stays itself
    theirs = richardson_lucy(
        np.tile(y[0, 0].numpy(), (3, 3)), start[0, 0].numpy(), num_iter=4, clip=False
    )
    torch.testing.assert_close(
        ours.x[0, 0], torch.from_numpy(theirs[16:32, 16:32]), rtol=0, atol=1e-8
    )


def test_richardson_and_lucy_conserve_light_and_never_lose_likelihood():
    x = torch.rand(2, 1, 16, 16, generator=generator_from(14), dtype=F64)
    y = BlurEach(kernels(2, (5, 5)), (1, 16, 16)).A(x)
    found = blind_richardson_lucy(y, 5, n_outer=8, n_inner=3)
    torch.testing.assert_close(found.x.sum((1, 2, 3)), y.sum((1, 2, 3)))
    torch.testing.assert_close(found.kernel.sum((1, 2, 3)), torch.ones(2, dtype=F64))
    assert (found.kernel >= 0).all()
    assert (found.history["kl"].diff(dim=0) <= 1e-12).all()
    with pytest.raises(ValueError, match=r"cannot be negative.*Use y.clamp\(min=0\)"):
        blind_richardson_lucy(-y, 5)


def test_history_is_the_divergence_of_photons():
    x = torch.rand(2, 1, 9, 8, generator=generator_from(15), dtype=F64)
    y = BlurEach(kernels(2), (1, 9, 8)).A(x)
    y[..., 0] = 0  # 0 log 0 = 0
    found = blind_richardson_lucy(y, 3, n_outer=3, n_inner=2)
    mean = BlurEach(found.kernel, (1, 9, 8)).A(found.x)
    expected = (torch.xlogy(y, y) - torch.xlogy(y, mean) - y + mean).sum((1, 2, 3))
    torch.testing.assert_close(found.history["kl"][-1], expected)
