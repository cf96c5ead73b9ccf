"""Projections: into the set, not changing what lies in it, and the nearest point of it."""

import pytest
import torch

from course_lib.operators import Blur, CompressedSensing, Downsampling, Inpainting, bicubic_kernel
from course_lib.solvers import project_box, project_consistent


def consistent_operators(generator):
    kernel = torch.rand(1, 1, 3, 3, generator=generator, dtype=torch.float64)
    return (
        Inpainting(torch.rand(1, 12, 16, generator=generator) < 0.5),
        Downsampling((1, 12, 16), 2, bicubic_kernel(2, torch.float64)),
        Blur(kernel, (1, 12, 16)),
        CompressedSensing(50, (1, 12, 16), generator, "fourier", dtype=torch.float64),
    )


def test_box(generator):
    x = 3 * torch.randn(2, 1, 4, 5, generator=generator, dtype=torch.float64)
    assert torch.equal(project_box()(x), x.clamp(0, 1))
    assert torch.equal(project_box(-1.0, 2.0)(x), x.clamp(-1, 2))
    inside = x.sigmoid()
    assert torch.equal(project_box()(inside), inside)


@pytest.mark.parametrize("which", range(4))
def test_consistent_images_explain_the_measurement_and_are_nearest(which, generator):
    op = consistent_operators(generator)[which]
    truth, x = torch.rand(2, 3, 1, 12, 16, generator=generator, dtype=torch.float64)
    y = op.A(truth)
    p = project_consistent(op, y)(x)
    assert torch.allclose(op.A(p), y, rtol=0, atol=1e-11)
    assert torch.allclose(project_consistent(op, y)(p), p, rtol=0, atol=1e-11)
    # x - p is orthogonal to every other direction within the set.
    inner = ((x - p) * (truth - p)).flatten(1).sum(1)
    assert inner.abs().max() <= 1e-10 * x.norm() * truth.norm()


def test_inpainting_keeps_x_where_nothing_was_seen(generator):
    op = consistent_operators(generator)[0]
    truth, x = torch.rand(2, 3, 1, 12, 16, generator=generator, dtype=torch.float64)
    p = project_consistent(op, op.A(truth))(x)
    assert torch.allclose(p, torch.where(op.mask, truth, x), rtol=0, atol=1e-15)


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (1.0, 1.0), (0.0, float("nan"))])
def test_an_empty_box_is_refused(low, high):
    with pytest.raises(ValueError, match="expected low < high"):
        project_box(low, high)
