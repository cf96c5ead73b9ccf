"""Functionals: gradients, Hessians, Lipschitz constants, and two errata of the sources."""

import math

import pytest
import torch
from torch.autograd.functional import hessian

from course_lib.functionals import LeastSquares, Ridge, SmoothedTV, Tychonov
from course_lib.operators import (
    Blur,
    CompressedSensing,
    Denoising,
    Downsampling,
    Inpainting,
    PhaseRetrieval,
    gaussian_kernel,
)

SIZE = (2, 4, 6)


def least_squares(generator, op, batch=3):
    y = torch.randn(batch, *op.measurement_size, generator=generator, dtype=torch.float64)
    return LeastSquares(op, y)


@pytest.fixture(params=["data", "ridge", "tychonov", "sum", "sum of three"])
def f(request, generator):
    data = least_squares(generator, CompressedSensing(7, SIZE, generator, dtype=torch.float64))
    return {
        "data": data,
        "ridge": Ridge(0.7),
        "tychonov": Tychonov(0.3),
        "sum": data + Tychonov(0.3),
        "sum of three": data + Tychonov(0.3) + Ridge(0.7),
    }[request.param]


@pytest.fixture
def x(generator):
    return torch.randn(3, *SIZE, generator=generator, dtype=torch.float64)


def dense_hessian(f, size):
    n = math.prod(size)
    columns = f.hvp(torch.eye(n, dtype=torch.float64).reshape(n, *size)).reshape(n, n)
    return columns.T


def test_one_value_an_image(f, x):
    assert f(x).shape == (3,)
    assert f.grad(x).shape == x.shape


def test_gradient_is_what_autograd_finds(f, x):
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(f(leaf).sum(), leaf)
    assert torch.allclose(f.grad(x), expected, rtol=1e-13, atol=1e-13)


def test_hvp_is_the_hessian(f, x, generator):
    v = torch.randn(3, *SIZE, generator=generator, dtype=torch.float64)
    expected = f.grad(x + v) - f.grad(x)  # exact for a quadratic
    assert torch.allclose(f.hvp(v), expected, rtol=1e-12, atol=1e-12)


def test_hvp_against_the_autograd_hessian():
    f = Tychonov(0.3) + Ridge(0.2)
    x = torch.zeros(1, 1, 3, 4, dtype=torch.float64)
    expected = hessian(lambda u: f(u).sum(), x).reshape(12, 12)
    assert torch.allclose(dense_hessian(f, (1, 3, 4)), expected, rtol=0, atol=1e-14)


def test_value_is_half_the_squared_residual(generator):
    op = Denoising((1, 2, 2))
    f = LeastSquares(op, torch.zeros(2, 1, 2, 2))
    assert torch.equal(f(torch.ones(2, 1, 2, 2)), torch.tensor([2.0, 2.0]))


def test_tychonov_by_hand():
    """One bright pixel has four differences of size one; wrapping included."""
    u = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    u[..., 0, 2] = 1
    assert Tychonov(0.5)(u).item() == 0.5 * 4
    assert Tychonov(0.5).grad(u)[0, 0, 0, 2] == 2 * 0.5 * 4


@pytest.mark.parametrize(
    ("size", "expected"),
    [((8, 6), 8.0), ((15, 15), 7.9126), ((15, 8), 7.9563), ((2, 2), 8.0)],
)
def test_curvature_of_the_squared_gradient(size, expected):
    """|grad^T grad| = 8 exactly if both sides are even, 7.91 for 15 x 15."""
    largest = torch.linalg.eigvalsh(dense_hessian(Tychonov(0.5), (1, *size)))[-1]
    assert largest == pytest.approx(expected, abs=5e-5)  # four decimals in this table
    assert largest <= 8 * (1 + 1e-14)


@pytest.mark.parametrize("lam", [0.0, 0.1, 3.0])
def test_denoising_is_1_plus_16_lam_lipschitz(lam):
    """Of the gradient, not of f itself (erratum E27); attained by the checkerboard."""
    f = LeastSquares(Denoising((1, 4, 6)), torch.zeros(1, 1, 4, 6).double()) + Tychonov(lam)
    assert f.lipschitz == pytest.approx(1 + 16 * lam, rel=1e-15)
    assert torch.linalg.eigvalsh(dense_hessian(f, (1, 4, 6)))[-1] == pytest.approx(f.lipschitz)
    # f itself has no Lipschitz constant: its slope grows without bound.
    far = torch.full((1, 1, 4, 6), 1e6, dtype=torch.float64)
    assert f.grad(far).norm() > 1e6


def test_lipschitz_bounds_every_hessian_and_is_attained_by_single_terms(f):
    largest = torch.linalg.eigvalsh(dense_hessian(f, SIZE))[-1].item()
    assert largest <= f.lipschitz * (1 + 1e-12)
    if not hasattr(f, "f"):  # a sum of bounds may be loose
        assert largest == pytest.approx(f.lipschitz, rel=1e-10)


@pytest.mark.parametrize("lam", [0.5, 3.0])
def test_ridge_has_one_factor_lam(lam, generator):
    """Erratum E21: R = lam/2 |u|^2 belongs to F once; the minimiser is (A^T A + lam I)^-1 A^T y."""
    op = CompressedSensing(7, (1, 2, 5), generator, dtype=torch.float64)
    y = torch.randn(1, 7, generator=generator, dtype=torch.float64)
    matrix = op.matrix.T @ op.matrix + lam * torch.eye(10, dtype=torch.float64)
    u = torch.linalg.solve(matrix, op.matrix.T @ y[0]).reshape(1, 1, 2, 5)
    f = LeastSquares(op, y) + Ridge(lam)
    assert f.grad(u).norm() <= 1e-13
    assert torch.equal(Ridge(lam)(u), lam / 2 * u.square().sum()[None])
    twice = LeastSquares(op, y) + Ridge(lam**2)  # what the slide's formula would mean
    assert twice.grad(u).norm() > 0.1 * u.norm()


@pytest.mark.parametrize("R", [Ridge(0.7), Tychonov(0.3)], ids=["ridge", "tychonov"])
@pytest.mark.parametrize("size", [(1, 5, 8), (2, 4, 7)])
@pytest.mark.parametrize("step", [0.1, 5.0])
def test_prox_solves_its_optimality_condition(R, size, step, generator):
    """p = prox(x) if and only if p + step grad R(p) = x, for a smooth convex R."""
    x = torch.randn(3, *size, generator=generator, dtype=torch.float64)
    p = R.prox(x, step)
    assert torch.allclose(p + step * R.grad(p), x, rtol=0, atol=1e-13)


def test_prox_keeps_single_precision(generator):
    x = torch.randn(3, 1, 5, 8, generator=generator)
    assert Tychonov(0.3).prox(x, 0.1).dtype == torch.float32
    assert Ridge(0.3).prox(x, 0.1).dtype == torch.float32


@pytest.mark.parametrize(
    "op",
    [
        Denoising(SIZE),
        Inpainting(torch.ones(SIZE)),
        Blur(gaussian_kernel(0.5, size=3, dtype=torch.float64), SIZE),
        Downsampling(SIZE, 2),
    ],
    ids=lambda op: type(op).__name__,
)
def test_lipschitz_constant_of_the_data_term_is_the_squared_norm(op, generator):
    f = least_squares(generator, op)
    largest = torch.linalg.eigvalsh(dense_hessian(f, SIZE))[-1].item()
    assert f.lipschitz == pytest.approx(largest, rel=1e-12)


@pytest.mark.parametrize("functional", [Ridge, Tychonov])
@pytest.mark.parametrize("lam", [-0.1, float("nan"), float("inf")])
def test_weights_must_be_finite_and_not_negative(functional, lam):
    with pytest.raises(
        ValueError, match=f"{functional.__name__}: lam must be a finite number >= 0"
    ):
        functional(lam)


def test_measurements_are_checked_at_construction():
    with pytest.raises(ValueError, match=r"expected y of shape \(B, 2, 4, 6\) for Denoising"):
        LeastSquares(Denoising(SIZE), torch.zeros(2, 4, 6))
    with pytest.raises(ValueError, match="y holds 48 values that are NaN or infinite"):
        LeastSquares(Denoising(SIZE), torch.full((1, *SIZE), torch.nan))


def test_a_nonlinear_operator_has_no_constant_hessian(generator):
    f = least_squares(generator, PhaseRetrieval(5, SIZE, generator, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"hvp: PhaseRetrieval is not linear.*step_size by hand"):
        f.hvp(torch.zeros(1, *SIZE).double())
    with pytest.raises(TypeError, match="lipschitz: PhaseRetrieval is not linear"):
        _ = f.lipschitz


def test_the_bound_of_smoothed_tv_is_attained_at_a_flat_image():
    """There the Hessian is lam / eps times -Laplacian, whose largest value 8 a checkerboard has."""
    f = SmoothedTV(0.3, 0.05)
    rows, columns = torch.arange(6)[:, None], torch.arange(8)
    board = 1.0 - 2.0 * ((rows + columns) % 2).double()[None, None]
    flat, t = torch.full_like(board, 0.5), 1e-6
    curvature = (f.grad(flat + t * board) * board).sum() / (t * board.square().sum())
    # The gradient is odd in t: the error is of order (t / eps)^2 = 4e-10, and rounding eps / t.
    assert curvature.item() == pytest.approx(f.lipschitz, rel=1e-8)
