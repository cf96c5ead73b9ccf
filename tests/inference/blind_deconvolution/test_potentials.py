"""Potentials: what bounds their curvature, and Proposition 1."""

import math

import pytest
import torch
from blind_world import (
    F64,
    LEVEL,
    SIGMA,
    SIZE,
    TV,
    WORLD,
    exact_image,
    exact_profile,
    heat,
    kernels,
)

from course_lib.exact import EmpiricalMixture
from course_lib.fourier import half_spectrum_weights
from course_lib.inference.blind_deconvolution import (
    DenoiserPotential,
    curvature,
    data_fidelity,
)
from course_lib.operators import Blur, BlurEach
from course_lib.rng import generator_from


def test_the_curvature_of_a_law_with_noise_is_bounded():
    """Also of one that is not convex: between two centres the Hessian has a negative eigenvalue."""
    centres = torch.zeros(2, 1, 1, 3, dtype=F64)
    centres[1, ..., 0] = 4 * LEVEL
    q = DenoiserPotential(EmpiricalMixture(centres), LEVEL)
    middle = centres.mean(0, keepdim=True)
    hessian = torch.autograd.functional.hessian(lambda x: q.value(x).sum(), middle).view(3, 3)
    values = torch.linalg.eigvalsh(hessian)
    assert values[0] < 0
    assert values[-1] <= q.lipschitz * (1 + 1e-12)
    found = curvature(q, middle.expand(1, -1, -1, -1), torch.ones(1, 1, 1, 3, dtype=F64))
    torch.testing.assert_close(found.flatten(), hessian.sum(1))


def test_proposition_1_in_the_gaussian_world(blurred):
    """phi(h) = min over x of F is a sum over frequencies, least where |h^| = 1: at the identity."""
    identity = torch.ones(1, 1, 1, 1, dtype=F64)
    least = exact_profile(identity, blurred)
    for seed in range(200):
        h = torch.randn(1, 15, generator=generator_from(seed), dtype=F64) * (1 + seed % 5)
        assert (exact_profile(h.softmax(1).view(1, 1, 3, 5), blurred) > least).all()
    curve = [exact_profile(heat(t), blurred) for t in (0, 0.2, 0.5, 1, 2, 4)]
    assert (torch.stack(curve).diff(dim=0) > 0).all()


def test_the_exact_profile_is_the_minimum_over_images(blurred):
    for h in kernels():
        x = exact_image(h[None], blurred)
        q = WORLD.potential(x, LEVEL)
        constant = (
            half_spectrum_weights(SIZE[1:]) * (2 * math.pi * (WORLD.spectrum + LEVEL**2)).log()
        ).sum() / 2
        value = data_fidelity(Blur(h[None], SIZE), x, blurred) + SIGMA**2 * (q - constant)
        torch.testing.assert_close(value, exact_profile(h[None], blurred))


@pytest.mark.parametrize("q", [TV, DenoiserPotential(WORLD, LEVEL)], ids=["tv", "gaussian"])
def test_the_identity_with_the_blurred_image_is_never_worse(q, images, blurred):
    """The proof of Proposition 1, pair by pair: F(h * x, identity) <= F(x, h)."""
    value = q.value if isinstance(q, DenoiserPotential) else q
    for seed in range(50):
        op = BlurEach(kernels(seed=seed), SIZE)
        x = images + 0.2 * torch.randn(3, *SIZE, generator=generator_from(seed), dtype=F64)
        pair = data_fidelity(op, x, blurred) + SIGMA**2 * value(x)
        h_x = op.A(x)
        trivial = (h_x - blurred).square().sum((1, 2, 3)) / 2 + SIGMA**2 * value(h_x)
        assert (trivial <= pair + 1e-12).all()
