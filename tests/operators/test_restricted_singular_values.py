"""Extremes of the gain over pairs of images, against masks and singular values."""

import torch

from course_lib.operators import CompressedSensing, Inpainting, restricted_singular_values
from course_lib.rng import generator_from

IMG = (1, 6, 5)


def test_restricted_singular_values_of_a_mask():
    """Images that differ in seen pixels keep their distance, others lose it."""
    mask = torch.zeros(1, 6, 5)
    mask[..., :3] = 1
    x = torch.zeros(3, *IMG)
    x[1, 0, 0, 0] = 1  # seen
    x[2, 0, 0, 4] = 1  # not seen
    low, high = restricted_singular_values(Inpainting(mask), x)
    assert low == 0
    assert high == 1


def test_restricted_singular_values_are_inside_the_singular_values():
    op = CompressedSensing(40, IMG, generator_from(1))
    singular_values = torch.linalg.svdvals(op.A(torch.eye(30).view(30, *IMG)).flatten(1).T)
    x = torch.rand(12, *IMG, generator=generator_from(2))
    low, high = restricted_singular_values(op, x)
    assert singular_values[-1] <= low <= high <= singular_values[0]
