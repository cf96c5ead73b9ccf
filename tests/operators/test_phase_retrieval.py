"""Phase retrieval, the one operator that is not linear."""

import pytest
import torch
from torch.autograd.functional import vjp

from course_lib.functionals import LeastSquares
from course_lib.operators import PhaseRetrieval
from course_lib.solvers import gradient_descent


@pytest.fixture
def op(generator):
    return PhaseRetrieval(96, (1, 4, 4), generator, dtype=torch.float64)


@pytest.fixture
def x(op, generator):
    return torch.rand(3, *op.img_size, generator=generator, dtype=torch.float64)


def test_intensities(op, x):
    amplitudes = x.flatten(1).to(torch.complex128) @ op.B.T
    assert torch.allclose(op.A(x), amplitudes.abs().square(), rtol=1e-14, atol=0)
    assert torch.equal(op.A(-x), op.A(x))  # the sign is lost
    assert torch.allclose(op.A(3 * x), 9 * op.A(x), rtol=1e-14, atol=0)


def test_the_entries_of_b_have_variance_one_over_m(generator):
    B = PhaseRetrieval(300, (1, 20, 20), generator, dtype=torch.float64).B
    # 1.2e5 draws: variance known to 0.3 % (|entry|^2 is exponential), four of those
    assert B.abs().square().mean() == pytest.approx(1 / 300, rel=0.012)
    assert B.real.var() == pytest.approx(B.imag.var().item(), rel=0.025)


def test_transposed_jacobian_is_what_autograd_finds(op, x, generator):
    v = torch.randn(3, op.m, generator=generator, dtype=torch.float64)
    _, expected = vjp(op.A, x, v)
    assert torch.allclose(op.A_vjp(x, v), expected, rtol=1e-13, atol=1e-14)


def test_gradient_of_the_data_term(op, x, generator):
    """2 Re B^* ((|B x|^2 - y) * B x), against autograd."""
    f = LeastSquares(op, torch.rand(3, op.m, generator=generator, dtype=torch.float64))
    start = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(f(start).sum(), start)
    assert torch.allclose(f.grad(x), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (1,), (2, 3)])
def test_shapes_and_precision(op, generator, dtype, batch):
    x = torch.rand(*batch, *op.img_size, generator=generator, dtype=dtype)
    y = op.A(x)
    assert y.shape == (*batch, 96)
    assert y.dtype == op.A_vjp(x, y).dtype == op.spectral_start(y).dtype == dtype
    assert op.A_vjp(x, y).shape == op.spectral_start(y).shape == x.shape


def test_spectral_start_points_towards_the_image(op, x):
    start = op.spectral_start(op.A(x))
    cosine = (start * x).flatten(1).sum(1) / (
        start.flatten(1).norm(dim=1) * x.flatten(1).norm(dim=1)
    )
    assert (cosine.abs() > 0.7).all()  # 1/4 is what a random direction in 16 dimensions has
    assert torch.allclose(op.A(start).mean(1), op.A(x).mean(1), rtol=1e-12)


def test_spectral_start_is_an_eigenvector(op, x):
    y = op.A(x)
    start = op.spectral_start(y, n_steps=2000).flatten(1)
    for one, weights in zip(start, y, strict=True):
        matrix = (op.B.conj().T @ (weights[:, None] * op.B)).real
        leading = torch.linalg.eigh(matrix).eigenvectors[:, -1]
        assert (one @ leading).abs() == pytest.approx(one.norm().item(), rel=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_gradient_descent_recovers_the_image_up_to_its_sign(seed):
    """m = 6 n intensities, spectral start: relative error 1e-6."""
    generator = torch.Generator().manual_seed(seed)
    op = PhaseRetrieval(96, (1, 4, 4), generator, dtype=torch.float64)
    x = torch.rand(2, *op.img_size, generator=generator, dtype=torch.float64)
    y = op.A(x)
    # Near the image the Hessian is at most about 6 |B|^2 max y; a tenth of 1 / mean y is safe.
    step = 0.1 * op.m / y.mean().item() / 96
    solution = gradient_descent(
        LeastSquares(op, y), op.spectral_start(y), step_size=step, max_iter=5000, rtol=1e-10
    )
    sign = (solution.x * x).flatten(1).sum(1).sign()[:, None, None, None]
    error = (sign * solution.x - x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
    assert (error <= 1e-6).all()


def test_b_depends_on_the_generator_alone():
    def matrix(seed):
        return PhaseRetrieval(5, (1, 2, 2), torch.Generator().manual_seed(seed)).B

    assert torch.equal(matrix(1), matrix(1))
    assert not torch.equal(matrix(1), matrix(2))
