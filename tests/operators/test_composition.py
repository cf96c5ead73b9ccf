"""One operator after another; adjoint, A^+ and prox are tested with all operators."""

import pytest
import torch
from torch.nn.functional import conv2d

from course_lib.operators import Blur, Composition, Downsampling, GaussianNoise, Inpainting
from course_lib.rng import generator_from


def test_a_masked_blur_sees_the_valid_part_of_the_convolution(generator):
    """Away from the border a periodic canvas cannot be told from an endless scene: plain sums."""
    kernel = torch.rand(1, 1, 3, 5, generator=generator, dtype=torch.float64)
    scene = torch.rand(2, 1, 12, 14, generator=generator, dtype=torch.float64)
    seen = torch.zeros(1, 12, 14, dtype=torch.bool)
    seen[:, 1:-1, 2:-2] = True
    op = Composition(Inpainting(seen), Blur(kernel, (1, 12, 14)))
    measured = op.A(scene)
    expected = conv2d(scene, kernel.flip(-2, -1))
    # Rounding of one FFT against one sum of 15 products.
    torch.testing.assert_close(measured[..., 1:-1, 2:-2], expected, rtol=0, atol=1e-14)
    assert not measured[..., ~seen[0]].any()


def test_noise_is_that_of_the_outer_operator_and_falls_on_seen_pixels():
    seen = torch.rand(1, 8, 8, generator=generator_from(1)) < 0.5
    op = Composition(Inpainting(seen, GaussianNoise(0.1)), Downsampling((1, 16, 16), 2))
    assert op.noise_model == GaussianNoise(0.1)
    y = op(torch.full((1, 16, 16), 0.5), generator=generator_from(0))
    assert not y[~seen].any()
    assert 0.05 < (y[seen] - 0.5).std() < 0.2  # some 30 draws of standard deviation 0.1


def test_sizes_that_do_not_meet_are_refused():
    with pytest.raises(
        ValueError, match=r"Downsampling measures \(1, 4, 4\), but Inpainting takes"
    ):
        Composition(Inpainting(torch.ones(1, 8, 8)), Downsampling((1, 8, 8), 2))
