"""Colour to grey."""

import pytest
import torch
from skimage.color import rgb2gray

from course_lib.operators import GaussianNoise, Luminance


def test_it_is_that_of_skimage(generator):
    x = torch.rand(2, 3, 5, 4, generator=generator, dtype=torch.float64)
    expected = torch.from_numpy(rgb2gray(x.numpy(), channel_axis=1))
    grey = Luminance((3, 5, 4)).A(x)
    assert grey.shape == (2, 1, 5, 4)
    torch.testing.assert_close(grey[:, 0], expected, rtol=0, atol=1e-15)  # sums of three terms


def test_grey_keeps_its_value(generator):
    grey = torch.rand(1, 5, 4, generator=generator, dtype=torch.float64)
    seen = Luminance((3, 5, 4)).A(grey.expand(3, -1, -1))
    torch.testing.assert_close(seen, grey, rtol=0, atol=1e-15)  # the weights sum to one


def test_pseudo_inverse_keeps_the_luminance(generator):
    op = Luminance((3, 5, 4))
    y = torch.rand(2, 1, 5, 4, generator=generator)
    assert op.A_dagger(y).dtype == torch.float32
    torch.testing.assert_close(op.A(op.A_dagger(y)), y, rtol=0, atol=1e-6)  # 8 eps of float32


def test_noise_falls_on_the_grey_image():
    op = Luminance((3, 40, 50), GaussianNoise(0.1))
    y = op(torch.zeros(10, 3, 40, 50), generator=torch.Generator().manual_seed(0))
    assert y.shape == (10, 1, 40, 50)
    # 20,000 draws: the standard deviation is known to 0.5 %, five of those allowed
    assert abs(y.std() - 0.1) <= 0.025 * 0.1


def test_a_grey_image_is_refused():
    with pytest.raises(ValueError, match=r"Luminance: expected colour images .*got \(1, 4, 4\)"):
        Luminance((1, 4, 4))
