"""Tychonov's closed form, against dense algebra and against descent."""

import pytest
import torch
from helpers import dense_matrix, diagonal_operators

from course_lib.finite_differences import laplacian
from course_lib.functionals import LeastSquares, Tychonov
from course_lib.operators import Blur, Denoising, Downsampling, Inpainting, gaussian_kernel
from course_lib.solvers import conjugate_gradient, gradient_descent, hessian_spectrum, tychonov


@pytest.mark.parametrize("size", [(1, 6, 8), (1, 7, 5), (3, 4, 7)])
@pytest.mark.parametrize("which", [0, 1], ids=["denoising", "blur"])
@pytest.mark.parametrize("lam", [1e-3, 0.4, 30.0])
def test_tychonov_against_a_dense_solve(size, which, lam, generator):
    op = diagonal_operators(size, generator)[which]
    y = torch.randn(2, *size, generator=generator, dtype=torch.float64)
    A, L = dense_matrix(op.A, size), dense_matrix(laplacian, size)
    expected = torch.linalg.solve(A.T @ A - 2 * lam * L, A.T @ y.flatten(1).T).T.view_as(y)
    solution = tychonov(op, y, lam)
    assert solution.status == "converged"
    assert (solution.x - expected).norm() <= 1e-12 * expected.norm()  # issue 2


@pytest.mark.parametrize("size", [(1, 6, 8), (1, 7, 5)])
@pytest.mark.parametrize("which", [0, 1], ids=["denoising", "blur"])
def test_extreme_eigenvalues_of_the_hessian(size, which, generator):
    """The largest is the exact Lipschitz constant, the smallest the strong convexity."""
    op = diagonal_operators(size, generator)[which]
    dense = torch.linalg.eigvalsh(
        dense_matrix((LeastSquares(op, torch.zeros(1, *size)) + Tychonov(0.3)).hvp, size)
    )
    spectrum = hessian_spectrum(op, 0.3, size[1:])
    assert spectrum.max() == pytest.approx(dense[-1].item(), rel=1e-12)
    assert spectrum.min() == pytest.approx(dense[0].item(), rel=1e-11)


def test_it_is_where_descent_ends(generator):
    """1/2 |A u - y|^2 + lam |grad u|^2, the functional of the text, with its factor 1."""
    op = diagonal_operators((1, 8, 9), generator)[1]
    y = torch.randn(2, 1, 8, 9, generator=generator, dtype=torch.float64)
    f = LeastSquares(op, y) + Tychonov(0.3)
    closed = tychonov(op, y, 0.3).x
    assert f.grad(closed).norm() <= 1e-13 * y.norm()
    descent = gradient_descent(f, y, max_iter=20_000, rtol=1e-15).x
    assert torch.allclose(descent, closed, rtol=0, atol=1e-12)  # descent stops there


def test_no_nearby_image_is_better(generator):
    op = diagonal_operators((1, 8, 9), generator)[1]
    y = torch.randn(1, 1, 8, 9, generator=generator, dtype=torch.float64)
    f = LeastSquares(op, y) + Tychonov(0.3)
    x = tychonov(op, y, 0.3).x
    for _ in range(10):
        assert f(x) < f(x + 1e-3 * torch.randn(x.shape, generator=generator, dtype=torch.float64))


def test_several_weights_at_once(generator):
    """One weight an image, or one image and many weights."""
    op = diagonal_operators((1, 6, 5), generator)[1]
    y = torch.randn(3, 1, 6, 5, generator=generator, dtype=torch.float64)
    lams = torch.tensor([0.01, 0.1, 1.0], dtype=torch.float64)
    paired = tychonov(op, y, lams).x
    fanned = tychonov(op, y[:1], lams).x
    assert fanned.shape == y.shape
    for i, lam in enumerate(lams.tolist()):
        assert torch.allclose(paired[i], tychonov(op, y[i : i + 1], lam).x[0], rtol=0, atol=1e-15)
        assert torch.allclose(fanned[i], tychonov(op, y[:1], lam).x[0], rtol=0, atol=1e-15)


def test_limits(generator):
    """lam -> 0 gives the inverse where there is one; lam -> infinity keeps the mean alone."""
    op = Blur(gaussian_kernel(0.5, dtype=torch.float64), (1, 8, 7))
    x = torch.rand(2, 1, 8, 7, generator=generator, dtype=torch.float64)
    y = op.A(x)
    assert torch.allclose(tychonov(op, y, 1e-14).x, x, rtol=0, atol=1e-10)
    mean = y.mean((-2, -1), keepdim=True).expand_as(y)
    assert torch.allclose(tychonov(op, y, 1e12).x, mean, rtol=0, atol=1e-10)


def test_a_frequency_neither_seen_nor_penalised_is_set_to_zero():
    """A kernel of sum 0 loses the mean: the solution of least norm has mean 0, not NaN."""
    kernel = torch.tensor([[[[1.0, -1.0]]]], dtype=torch.float64)
    x = tychonov(Blur(kernel, (1, 4, 4)), torch.ones(1, 1, 4, 4).double(), 0.1).x
    assert torch.equal(x, torch.zeros(1, 1, 4, 4).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("op_dtype", [torch.float32, torch.float64])
def test_precision_is_that_of_the_measurement(dtype, op_dtype, generator):
    op = Blur(gaussian_kernel(1.0, dtype=op_dtype), (1, 9, 12))
    y = torch.rand(2, 1, 9, 12, generator=generator).to(dtype)
    assert tychonov(op, y, 0.1).x.dtype == dtype


def test_inpainting_has_no_closed_form_but_conjugate_gradients(generator):
    """The remedy that the error message names works."""
    op = Inpainting(torch.rand(1, 6, 7, generator=generator) < 0.5)
    y = op.A(torch.rand(1, 1, 6, 7, generator=generator, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"Inpainting is not diagonal.*conjugate_gradient"):
        tychonov(op, y, 0.1)
    f = LeastSquares(op, y) + Tychonov(0.1)
    x = conjugate_gradient(f.hvp, op.A_adjoint(y), rtol=1e-13).x
    assert f.grad(x).norm() <= 1e-12


@pytest.mark.parametrize("lam", [0.0, -1.0, float("nan"), float("inf")])
def test_the_weight_must_be_positive(lam):
    with pytest.raises(ValueError, match="lam must be positive and finite"):
        tychonov(Denoising((1, 4, 4)), torch.zeros(1, 1, 4, 4), lam)


def test_bad_measurements():
    op = Denoising((1, 4, 4))
    with pytest.raises(ValueError, match="tychonov: y holds 16 values that are NaN"):
        tychonov(op, torch.full((1, 1, 4, 4), torch.nan), 0.1)
    for shape in ((1, 1, 8, 8), (1, 3, 4, 4), (1, 4, 4)):
        with pytest.raises(ValueError, match=r"tychonov: expected y of shape \(B, 1, 4, 4\)"):
            tychonov(op, torch.zeros(shape), 0.1)
    with pytest.raises(TypeError, match="Downsampling is not diagonal"):
        tychonov(Downsampling((1, 4, 4), 2), torch.zeros(1, 1, 2, 2), 0.1)


def test_weights_of_the_wrong_shape():
    op, y = Denoising((1, 6, 5)), torch.rand(3, 1, 6, 5, dtype=torch.float64)
    with pytest.raises(ValueError, match="one lam, or one for each of the 3 images"):
        tychonov(op, y, torch.tensor([0.1, 0.2]))
