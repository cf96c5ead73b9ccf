"""Projection on the probability simplex: bisection, the inequality that defines it, ties."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from course_lib.kernels.simplex import project_simplex

F64 = torch.float64
backends = pytest.mark.parametrize("backend", ["reference", "numba"])


def by_bisection(v):
    low, high = v.amax(-1, keepdim=True) - 1, v.amax(-1, keepdim=True)
    for _ in range(60):
        middle = (low + high) / 2
        too_much = (v - middle).clamp(min=0).sum(-1, keepdim=True) > 1
        low, high = torch.where(too_much, middle, low), torch.where(too_much, high, middle)
    return (v - low).clamp(min=0)


@backends
@pytest.mark.parametrize("scale", [1e-2, 1.0, 50.0])
def test_bisection_and_variational_inequality(backend, scale, generator):
    v = scale * torch.randn(4, 5, 63, generator=generator, dtype=F64)
    p = project_simplex(v, backend=backend)
    assert (p >= 0).all()
    torch.testing.assert_close(p.sum(-1), torch.ones(4, 5, dtype=F64), rtol=0, atol=1e-14)
    torch.testing.assert_close(p, by_bisection(v), rtol=0, atol=1e-14)
    # <v - p, c - p> <= 0 for every c; the vertices suffice, they span the simplex
    slack = (v - p) - ((v - p) * p).sum(-1, keepdim=True)
    assert slack.max() <= 1e-13 * scale


@backends
def test_points_of_the_simplex_vertices_and_ties(backend):
    inside = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]], dtype=F64)
    torch.testing.assert_close(project_simplex(inside, backend=backend), inside)
    far = torch.tensor([[7.0, 1.0, -2.0]], dtype=F64)
    assert project_simplex(far, backend=backend).tolist() == [[1, 0, 0]]
    ties = torch.tensor([[3.0, 3.0, 1.0, 3.0], [-5.0, -5.0, -5.0, -5.0]], dtype=F64)
    expected = torch.tensor([[1 / 3, 1 / 3, 0, 1 / 3], [0.25] * 4], dtype=F64)
    torch.testing.assert_close(project_simplex(ties, backend=backend), expected)
    border = torch.tensor([[0.5, 0.5, 0.0]], dtype=F64, requires_grad=True)  # exactly at tau
    project_simplex(border, backend=backend)[0, 0].backward()
    assert border.grad.tolist() == [[0.5, -0.5, 0.0]]


@backends
def test_points_of_the_simplex_in_single_precision(backend, generator):
    """Entries at 0 stand exactly at the threshold, on which side of it rounding decides."""
    v = torch.rand(200, 38, generator=generator)
    p = project_simplex(3 * v / v.sum(1, keepdim=True), backend="reference")
    assert (p == 0).any(1).all()
    again = project_simplex(p, backend=backend)
    torch.testing.assert_close(again, p, rtol=0, atol=1e-6)  # 1e-7, the rounding of a sum, times 10


@backends
def test_jacobian(backend, generator):
    """I_S - 1_S 1_S^T / |S|, by finite differences, by autograd's own check, and by the formula."""
    v = torch.randn(9, generator=generator, dtype=F64)
    s = (project_simplex(v) > 0).double()
    assert 1 < s.sum() < 9
    formula = s.diag() - torch.outer(s, s) / s.sum()
    jacobian = torch.autograd.functional.jacobian(lambda v: project_simplex(v, backend=backend), v)
    torch.testing.assert_close(jacobian, formula)
    h = 1e-6 * torch.eye(9, dtype=F64)
    columns = (project_simplex(v + h) - project_simplex(v - h)) / 2e-6
    torch.testing.assert_close(columns.T, formula, rtol=0, atol=1e-9)


@backends
def test_gradcheck(backend, generator):
    v = torch.randn(2, 3, 5, generator=generator, dtype=F64).requires_grad_()
    assert gradcheck(lambda v: project_simplex(v, backend=backend), v)
    assert gradgradcheck(lambda v: project_simplex(v, backend=backend), v)


def test_the_sort_differentiates_to_the_same(generator):
    from course_lib.kernels.simplex._reference import project

    v = torch.randn(3, 8, generator=generator, dtype=F64).requires_grad_()
    weight = torch.randn(3, 8, generator=generator, dtype=F64)
    grads = [torch.autograd.grad((f(v) * weight).sum(), v)[0] for f in (project, project_simplex)]
    torch.testing.assert_close(*grads)


def test_shapes():
    assert project_simplex(torch.zeros(0, 4)).shape == (0, 4)
    assert project_simplex(torch.zeros(2, 3, 1)).eq(1).all()
    assert project_simplex(torch.zeros(3, 4).T).shape == (4, 3)
    assert project_simplex(torch.zeros(5, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("v", "message"),
    [
        (torch.zeros(3, 0), r"expected shape \(\.\.\., n\) with n >= 1, got \(3, 0\)"),
        (torch.tensor(1.0), r"got \(\)"),
        (torch.zeros(3, dtype=torch.long), r"got torch.int64. Use v.float\(\)"),
        (torch.tensor([0.0, float("nan")]), "holds 1 values that are NaN or infinite"),
    ],
)
def test_bad_input(v, message):
    with pytest.raises(ValueError, match=message):
        project_simplex(v)
