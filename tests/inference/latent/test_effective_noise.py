"""The noise that a latent must explain, against dense matrices."""

import math

import pytest
import torch

from course_lib.inference.latent import effective_noise
from course_lib.operators import CompressedSensing, Downsampling, box_kernel
from course_lib.rng import generator_from

IMG = (1, 6, 5)


@pytest.mark.parametrize(
    "op",
    [
        CompressedSensing(20, IMG, generator_from(0)),
        Downsampling((1, 12, 12), 2, kernel=box_kernel(2)),
    ],
    ids=["gaussian rows", "downsampling"],
)
def test_effective_noise_against_the_frobenius_norm(op):
    n, m = math.prod(op.img_size), math.prod(op.measurement_size)
    dense = op.A(torch.eye(n).view(n, *op.img_size)).flatten(1).T
    exact = math.sqrt(0.1**2 + 0.3**2 * dense.square().sum().item() / m)
    # 64 draws of m >= 20 numbers, all but independent: 1280 squares have a mean with
    # a standard error of sqrt(2 / 1280) = 4%, its root half of that.
    assert abs(effective_noise(op, 0.1, 0.3) / exact - 1) < 0.1
