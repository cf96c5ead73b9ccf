"""Blurred images and signals that several tests look at."""

import pytest
import torch
from blind_world import F64, SIGMA, SIGNAL, SIZE, WORLD, kernels

from course_lib.exact import EmpiricalMixture
from course_lib.inference.blind_deconvolution import (
    DenoiserPotential,
)
from course_lib.operators import Blur, BlurEach, gaussian_kernel, motion_kernel
from course_lib.rng import generator_from, normal_like


@pytest.fixture
def images():
    return WORLD.sample(3, generator=generator_from(2))


@pytest.fixture
def blurred(images):
    y = BlurEach(kernels(), SIZE).A(images)
    return y + SIGMA * normal_like(y, generator_from(3))


@pytest.fixture
def favourable():
    """A signal that is a critical point of a law with three centres, a kernel, y without noise."""
    centres = torch.rand(3, *SIGNAL, generator=generator_from(6), dtype=F64)
    q = DenoiserPotential(EmpiricalMixture(centres), 0.1)
    x = centres[:1]
    for _ in range(200):
        x = q.denoiser(x, q.sigma)  # descent with the longest step: its limit has gradient 0
    assert q.grad(x).abs().max() < 1e-12
    kernel = torch.tensor([[[[0.1, 0.4, 0.3, 0.15, 0.05]]]], dtype=F64)
    return q, x, kernel, Blur(kernel, SIGNAL).A(x)


@pytest.fixture
def three():
    """Three images that a law knows by heart, among 20, blurred by three kernels of 5 x 5."""
    g = generator_from(10)
    smooth = Blur(gaussian_kernel(1.0, 5, F64), (1, 16, 16))
    centres = (smooth.A(torch.randn(20, 1, 16, 16, generator=g, dtype=F64)) > 0).double()
    h = torch.cat(
        [gaussian_kernel(0.9, 5, F64), motion_kernel(4.0, 0.5, 5, F64), kernels(1, (5, 5))]
    )
    y = BlurEach(h, (1, 16, 16)).A(centres[:3])
    return EmpiricalMixture(centres), centres[:3], h, y + 0.01 * normal_like(y, g)
