"""Least squares on the known pixels of each image."""

import torch

from course_lib.functionals import LeastSquares, MaskedLeastSquares
from course_lib.operators import Inpainting


def test_it_is_inpainting_with_a_mask_for_each_image(generator):
    mask = (torch.rand(3, 2, 5, 4, generator=generator) < 0.5).double()
    x, y, v = torch.randn(3, 3, 2, 5, 4, generator=generator, dtype=torch.float64)
    f = MaskedLeastSquares(y, mask)
    for i in range(3):
        one = LeastSquares(Inpainting(mask[i]), (mask * y)[i : i + 1])
        torch.testing.assert_close(f(x)[i : i + 1], one(x[i : i + 1]))
        torch.testing.assert_close(f.grad(x)[i : i + 1], one.grad(x[i : i + 1]))
        torch.testing.assert_close(f.hvp(v)[i : i + 1], one.hvp(v[i : i + 1]))
        assert one.lipschitz == f.lipschitz


def test_one_mask_serves_all_channels(generator):
    mask = (torch.rand(2, 1, 5, 4, generator=generator) < 0.5).double()
    x, y = torch.randn(2, 2, 3, 5, 4, generator=generator, dtype=torch.float64)
    wide = MaskedLeastSquares(y, mask.expand(-1, 3, -1, -1))
    assert torch.equal(MaskedLeastSquares(y, mask)(x), wide(x))
    assert torch.equal(MaskedLeastSquares(y, mask).grad(x), wide.grad(x))
