"""The spectral sums behind GCV and the discrepancy principle, against dense formulas."""

import pytest
import torch
from helpers import dense_matrix
from scipy.optimize import brentq

from course_lib.finite_differences import laplacian
from course_lib.operators import Blur, Denoising, GaussianNoise, Inpainting, gaussian_kernel
from course_lib.solvers import (
    discrepancy_principle,
    generalised_cross_validation,
    oracle_weight,
    tychonov,
)


@pytest.fixture(params=[(1, 6, 8), (1, 7, 5), (3, 4, 7)], ids=str)
def size(request):
    return request.param


@pytest.fixture(params=["denoising", "blur"])
def op(request, size):
    if request.param == "denoising":
        return Denoising(size)
    return Blur(gaussian_kernel(0.7, size=3, dtype=torch.float64), size)


@pytest.fixture
def y(op, size, generator):
    smooth = torch.linspace(0, 1, size[-1], dtype=torch.float64).expand(2, *size)
    return op.A(smooth) + 0.1 * torch.randn(2, *size, generator=generator, dtype=torch.float64)


def test_gcv_against_the_dense_formula(op, y, size):
    """n |A u - y|^2 / trace(I - A R)^2, divided by n."""
    lams = torch.tensor([1e-3, 0.03, 0.5, 20.0], dtype=torch.float64)
    best, curve = generalised_cross_validation(op, y, lams)
    A, L = dense_matrix(op.A, size), dense_matrix(laplacian, size)
    identity = torch.eye(len(A), dtype=torch.float64)
    expected = torch.empty(2, 4, dtype=torch.float64)
    for j, lam in enumerate(lams.tolist()):
        remainder = identity - A @ torch.linalg.solve(A.T @ A - 2 * lam * L, A.T)
        residual = (y.flatten(1) @ remainder.T).square().sum(1)
        expected[:, j] = residual / remainder.trace() ** 2
    assert torch.allclose(curve, expected, rtol=1e-10)  # dense solves with condition up to 1e4
    assert torch.equal(best, lams[expected.argmin(1)])


def test_discrepancy_principle_against_a_root_finder(op, y):
    sigma = 0.1
    found = discrepancy_principle(op, y, sigma)
    for image, lam in zip(y, found.tolist(), strict=True):

        def excess(log_lam, image=image):
            u = tychonov(op, image[None], 10**log_lam).x
            return ((op.A(u) - image).square().sum() - image.numel() * sigma**2).item()

        assert lam == pytest.approx(10 ** brentq(excess, -8, 4, xtol=1e-12), rel=1e-6)


def test_the_residual_has_the_size_of_the_noise(op, y):
    u = tychonov(op, y, discrepancy_principle(op, y, 0.08)).x
    residual = (op.A(u) - y).square().flatten(1).mean(1).sqrt()
    assert torch.allclose(residual, torch.full_like(residual, 0.08), rtol=1e-6)


def test_the_nearer_bound_is_returned_where_no_weight_fits(op, y):
    assert torch.allclose(
        discrepancy_principle(op, y, 10.0, bounds=(1e-3, 5.0)), torch.full((2,), 5.0).double()
    )
    assert torch.allclose(
        discrepancy_principle(op, y, 1e-9, bounds=(1e-3, 5.0)), torch.full((2,), 1e-3).double()
    )


def test_both_rules_come_near_the_oracle(generator):
    """On a smooth image: not further than a factor 1.3 in error from the best weight there is."""
    wave = torch.linspace(0, 6.2832, 64, dtype=torch.float64)
    x = (wave.sin()[:, None] * wave.cos() / 2 + 0.5)[None, None]
    op = Blur(gaussian_kernel(1.5, dtype=torch.float64), (1, 64, 64), GaussianNoise(0.05))
    y = op(x, generator=generator)
    lams = torch.logspace(-3, 3, 40, dtype=torch.float64)
    errors = (tychonov(op, y, lams).x - x).square().flatten(1).mean(1).sqrt()
    for lam in (
        generalised_cross_validation(op, y, lams)[0],
        discrepancy_principle(op, y, 0.05),
    ):
        error = (tychonov(op, y, lam).x - x).square().mean().sqrt()
        assert error <= 1.3 * errors.min() or lam > 0.2 * lams[errors.argmin()]


def test_precision_follows_the_measurement(op, y):
    assert discrepancy_principle(op, y.float(), 0.1).dtype == torch.float32
    assert generalised_cross_validation(op, y.float(), torch.ones(2))[1].dtype == torch.float32


def test_bad_input(op, y):
    with pytest.raises(ValueError, match="sigma must be positive, got 0"):
        discrepancy_principle(op, y, 0.0)
    with pytest.raises(ValueError, match="1-D tensor of weights > 0"):
        generalised_cross_validation(op, y, torch.tensor([0.1, 0.0]))
    with pytest.raises(TypeError, match="not diagonal"):
        discrepancy_principle(Inpainting(torch.ones(op.img_size)), y, 0.1)
    with pytest.raises(ValueError, match="y holds"):
        discrepancy_principle(op, y * torch.nan, 0.1)


def test_oracle_weight_has_the_least_true_error(op, y, size):
    x_true = torch.linspace(0, 1, size[-1], dtype=torch.float64).expand(2, *size)
    lams = torch.tensor([1e-4, 1e-2, 0.1, 1.0, 30.0], dtype=torch.float64)
    error = torch.stack([(tychonov(op, y, lam).x - x_true).flatten(1).norm(dim=1) for lam in lams])
    assert torch.equal(oracle_weight(op, y, x_true, lams), lams[error.argmin(0)])
