"""The conditions of Theorem 1 against dense Hessians of automatic differentiation."""

import pytest
import torch
from blind_world import F64, SIGMA, objective

from course_lib.functionals import SmoothedTV
from course_lib.inference.blind_deconvolution import (
    JointHessian,
    conditions,
    face_basis,
    potential_hessian,
)
from course_lib.rng import generator_from, normal_like


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_each_condition_is_that_of_dense_algebra(favourable, noise):
    q, x, kernel, y = favourable
    y = y + noise * normal_like(y, generator_from(7))  # with a residual, too
    basis, n = face_basis(kernel), x.numel()
    at = JointHessian(q, x, kernel, y, SIGMA)
    found = conditions(at, batch=7)  # 24 pixels: the last batch is not full
    start = torch.cat([x.flatten(), torch.zeros(len(basis), dtype=F64)])
    full = torch.autograd.functional.hessian(objective(q, x, kernel, basis, y), start)
    without = torch.autograd.functional.hessian(
        objective(q, x, kernel, basis, y + at.residual),
        start,  # whose residual is 0
    )
    Q = torch.autograd.functional.hessian(lambda v: q.value(v.view_as(x)).sum(), x.flatten())
    # Eigenvalues are as exact as matrices: the Hessians round at 1e-14 of entries up to 1 / s^2.
    torch.testing.assert_close(potential_hessian(q, x), Q, rtol=0, atol=1e-9)
    assert found.prior == pytest.approx(torch.linalg.eigvalsh(Q)[0].item(), abs=1e-9)
    assert found.hessian == pytest.approx(torch.linalg.eigvalsh(full)[0].item(), abs=1e-10)
    assert found.joint == pytest.approx(torch.linalg.eigvalsh(without)[0].item(), abs=1e-10)
    gram = full[n:, n:]  # J^T J
    assert found.injective**2 == pytest.approx(torch.linalg.eigvalsh(gram)[0].item(), abs=1e-10)
    assert found.slope == pytest.approx(q.grad(x).norm().item(), abs=1e-12)
    assert found.joint == pytest.approx(found.hessian) if noise == 0 else found.joint > 0


def test_a_constant_image_fails_the_condition_on_the_kernel(favourable):
    """No kernel changes a constant image: J = 0, and with it the joint form (erratum E7)."""
    _, x, kernel, _ = favourable
    constant = torch.full_like(x, 0.4)
    at = JointHessian(SmoothedTV(1.0, 0.1), constant, kernel, constant, SIGMA)
    found = conditions(at)
    assert max(abs(found.injective), abs(found.joint), abs(found.hessian)) < 1e-12
