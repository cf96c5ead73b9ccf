"""Theorem 1: the joint Hessian against automatic differentiation and Newton's method."""

import pytest
import torch
from blind_world import F64, SIGMA, newton, objective

from course_lib.functionals import SmoothedTV
from course_lib.inference.blind_deconvolution import (
    JointHessian,
    face_basis,
    on_simplex,
)
from course_lib.rng import generator_from, normal_like


def dense(hessian):
    return torch.stack([hessian.packed(v) for v in torch.eye(hessian.size, dtype=F64)])


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_joint_hessian_is_that_of_autograd(favourable, noise):
    q, x, kernel, y = favourable
    y = y + noise * normal_like(y, generator_from(7))  # with a residual, too
    basis = 2 * face_basis(kernel)  # of another length
    hessian = JointHessian(q, x, kernel, y, SIGMA, basis, ridge=10 * noise)
    data = objective(q, x, kernel, basis, y)

    def F(v):
        h = kernel + torch.tensordot(v[x.numel() :], basis, dims=1)[None]
        return data(v) + 5 * noise * h.square().sum()

    at = torch.cat([x.flatten(), torch.zeros(len(hessian.directions), dtype=F64)])
    expected = torch.autograd.functional.hessian(F, at)
    torch.testing.assert_close(dense(hessian), expected, rtol=0, atol=1e-10)


def test_the_hessian_is_positive_and_lanczos_finds_its_lower_end(favourable):
    hessian = JointHessian(*favourable, SIGMA)
    values = torch.linalg.eigvalsh(dense(hessian))
    assert values[0] > 1e-4
    found, vectors = hessian.smallest(3, rtol=1e-10)
    torch.testing.assert_close(found, values[:3], rtol=1e-8, atol=0)
    for value, v in zip(found, vectors, strict=True):
        torch.testing.assert_close(hessian.packed(v), value * v, rtol=0, atol=1e-8)


def test_the_conditions_of_theorem_1(favourable):
    """Where the quadratic form |H dx + J dc|^2 + sigma^2 <dx, Q dx> has a null direction."""
    q, x, kernel, y = favourable
    flat = SmoothedTV(0.0, 1.0)  # Q = 0: nothing holds H dx + J dc = 0
    assert abs(torch.linalg.eigvalsh(dense(JointHessian(flat, x, kernel, y, SIGMA)))[0]) < 1e-12
    constant = torch.full_like(x, 0.4)  # J = 0: no kernel changes a constant image (erratum E7)
    hessian = JointHessian(SmoothedTV(1.0, 0.1), constant, kernel, constant, SIGMA)
    assert torch.linalg.eigvalsh(dense(hessian))[:3].abs().max() < 1e-12
    kernel = torch.tensor([[[[0.1, 0.5, 0.3, 0.1, 0.0]]]], dtype=F64)
    every_tap = torch.eye(5, dtype=F64).view(5, 1, 1, 5)
    jacobian = torch.autograd.functional.jacobian(lambda v: on_simplex(v), kernel).view(5, 5)
    through = JointHessian(
        q, x, kernel, y, SIGMA, (jacobian.T @ every_tap.flatten(1)).view_as(every_tap)
    )
    values = torch.linalg.eigvalsh(dense(through))
    assert values[:2].abs().max() < 1e-12  # 1 and the tap at 0: erratum E6
    assert values[2] > 1e-4


@pytest.mark.slow
def test_the_solution_answers_linearly_to_noise(favourable):
    q, x, kernel, y = favourable
    hessian = JointHessian(q, x, kernel, y, SIGMA)
    b = normal_like(y, generator_from(8))
    dx, dh = hessian.response(b, rtol=1e-12)
    predicted = torch.cat([dx.flatten(), hessian.directions.flatten(1) @ dh.flatten()])
    exact = torch.linalg.solve(
        dense(hessian), torch.cat([hessian.op.A_adjoint(b).flatten(), hessian.pull(x, b)])
    )
    torch.testing.assert_close(predicted, exact, rtol=0, atol=1e-9)
    remainders = []
    for size in (1e-3, 1e-4, 1e-5):
        moved = newton(q, x, kernel, hessian.directions, y + size * b)
        slope = moved.norm() / size
        assert slope == pytest.approx(predicted.norm().item(), rel=0.05)
        remainders.append((moved - size * predicted).norm() / size**2)
    assert max(remainders) < 1.3 * min(remainders)  # of second order


def test_the_basis_of_a_face():
    kernel = torch.tensor([[0.5, 0.0, 0.2], [0.3, 0.0, 0.0]], dtype=F64)[None, None]
    basis = face_basis(kernel).flatten(1)
    assert basis.shape == (2, 6)
    torch.testing.assert_close(basis @ basis.T, torch.eye(2, dtype=F64))
    assert basis.sum(1).abs().max() < 1e-15
    assert (basis[:, kernel.flatten() == 0] == 0).all()
    assert face_basis(torch.ones(1, 1, 1, 1)).shape == (0, 1, 1, 1)
