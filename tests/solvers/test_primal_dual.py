"""The exact total variation estimate: closed forms, optimality, and the limit of smoothing."""

import pytest
import torch

from course_lib.finite_differences import gradient
from course_lib.functionals import LeastSquares, SmoothedTV
from course_lib.operators import (
    Blur,
    Denoising,
    Downsampling,
    Inpainting,
    Tomography,
    gaussian_kernel,
)
from course_lib.solvers import accelerated_gradient, primal_dual_tv

SIZE = (1, 6, 5)
OPERATORS = {
    "blur": Blur(gaussian_kernel(0.8, 5, torch.float64), SIZE),
    "downsampling": Downsampling((1, 6, 10), 2, gaussian_kernel(0.8, 5, torch.float64)),
    "inpainting": Inpainting(torch.arange(30).reshape(SIZE) % 3 > 0),
    "tomography": Tomography(SIZE, 7, dtype=torch.float64),
}


def tv(u):
    return gradient(u).square().sum(0).sqrt().flatten(1).sum(1)


def test_two_levels_in_closed_form():
    """On a periodic row with a block of ones, each level moves by 2 lam / its length."""
    y = torch.zeros(1, 1, 1, 16, dtype=torch.float64)
    y[..., 4:10] = 1
    u = primal_dual_tv(Denoising((1, 1, 16)), y, 0.3, max_iter=5000, rtol=1e-12).x
    expected = torch.full_like(y, 0.06)  # 2 * 0.3 / 10 up outside
    expected[..., 4:10] = 0.9  # 1 - 2 * 0.3 / 6 inside
    assert torch.allclose(u, expected, rtol=0, atol=1e-8)


def test_a_large_weight_leaves_the_mean(generator):
    y = torch.rand(2, 1, 9, 8, generator=generator, dtype=torch.float64)
    u = primal_dual_tv(Denoising((1, 9, 8)), y, 50.0, max_iter=5000, rtol=1e-12).x
    assert torch.allclose(u, y.mean((2, 3), keepdim=True).expand_as(u), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "name",
    ["blur", "downsampling", "inpainting", pytest.param("tomography", marks=pytest.mark.slow)],
)
def test_it_is_the_limit_of_smoothing(name, generator):
    """TV <= TV_eps <= TV + eps n, so the minima differ by at most lam eps n."""
    op = OPERATORS[name]
    x = torch.rand(2, *op.img_size, generator=generator, dtype=torch.float64)
    y, lam, eps = op.A(x), 0.05, 1e-3
    exact = primal_dual_tv(op, y, lam, max_iter=20000, rtol=1e-10).x
    smooth = accelerated_gradient(
        LeastSquares(op, y) + SmoothedTV(lam, eps), exact, max_iter=5000, rtol=1e-10
    ).x
    fit = LeastSquares(op, y)
    gap = (fit(smooth) + lam * tv(smooth)) - (fit(exact) + lam * tv(exact))
    assert (gap >= -1e-8).all()
    assert (gap <= lam * eps * x[0].numel()).all()


def test_history_is_the_objective_of_each_iterate(generator):
    op, lam = OPERATORS["blur"], 0.05
    x0, x = torch.rand(2, 2, *SIZE, generator=generator, dtype=torch.float64)
    y = op.A(x)
    run = primal_dual_tv(op, y, lam, x0=x0, max_iter=7, rtol=0)
    for iterate, row in ((x0, 0), (run.x, -1)):
        expected = LeastSquares(op, y)(iterate) + lam * tv(iterate)
        torch.testing.assert_close(run.history["objective"][row], expected)


def test_colour_and_bad_input(generator):
    op = Denoising((3, 6, 5))
    y = torch.rand(1, 3, 6, 5, generator=generator, dtype=torch.float64)
    together = primal_dual_tv(op, y, 0.1, max_iter=3000, rtol=1e-12).x
    apart = primal_dual_tv(
        Denoising((1, 6, 5)), y.transpose(0, 1), 0.1, max_iter=3000, rtol=1e-12
    ).x
    assert torch.allclose(together, apart.transpose(0, 1), rtol=0, atol=1e-8)
    with pytest.raises(ValueError, match="primal_dual_tv: expected lam >= 0"):
        primal_dual_tv(op, y, -1.0)
    with pytest.raises(ValueError, match=r"primal_dual_tv: expected y of shape \(B, 3, 6, 5\)"):
        primal_dual_tv(op, y[:, :1], 0.1)
