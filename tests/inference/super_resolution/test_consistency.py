"""The projection onto images of one measurement, against Pythagoras."""

import pytest
import torch

from course_lib.inference import (
    consistency_projection,
)
from course_lib.metrics import lr_psnr, psnr
from course_lib.operators import (
    Downsampling,
    Inpainting,
    bicubic_downsampling,
    gaussian_kernel,
)
from course_lib.rng import generator_from

OPERATORS = [
    Downsampling((1, 12, 16), 4, gaussian_kernel(std=1.0).double()),
    Downsampling((2, 12, 8), 2, torch.rand(1, 1, 3, 5, generator=generator_from(5)).double()),
    Downsampling((1, 6, 6), 3),
    Inpainting((torch.rand(1, 7, 5, generator=generator_from(6)) > 0.4).double()),
]


@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: f"{type(op).__name__}{op.img_size}")
def test_projection_is_orthogonal_idempotent_and_never_moves_away(op, generator):
    """Pythagoras: what it changes is what it gains, for every image of that measurement."""
    truth, x = torch.rand(2, 3, *op.img_size, generator=generator).double()
    y = op.A(truth)
    projected = consistency_projection(op, x, y)
    assert torch.allclose(op.A(projected), y, atol=1e-12, rtol=0)
    assert torch.allclose(consistency_projection(op, projected, y), projected, atol=1e-12, rtol=0)
    before, moved, after = (
        d.square().flatten(1).sum(1) for d in (x - truth, projected - x, projected - truth)
    )
    assert torch.allclose(after, before - moved, rtol=1e-12)
    assert (psnr(projected, truth) >= psnr(x, truth)).all()


@pytest.mark.parametrize("factor", [4, 8, 16])
def test_projected_float_images_are_consistent_to_more_than_60_db(factor, generator):
    """At the size of the book, in float32: the prefilter is far from singular on the small grid."""
    op = bicubic_downsampling((1, 64, 64), factor)
    truth, x = torch.rand(2, 2, 1, 64, 64, generator=generator)
    y = op.A(truth)
    assert lr_psnr(consistency_projection(op, x, y), y, op.A).min() > 100
