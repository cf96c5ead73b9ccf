"""Acceleration reaches the minimum sooner; continuation and restarts do not change where it is."""

import pytest
import torch

from course_lib.functionals import LeastSquares, SmoothedTV, Tychonov
from course_lib.operators import Blur, Denoising, Inpainting, gaussian_kernel
from course_lib.solvers import (
    accelerated_gradient,
    continuation,
    gradient_descent,
    hessian_spectrum,
    project_consistent,
    tychonov,
)

SIZE = (1, 15, 12)
OP = Blur(gaussian_kernel(1.0, 7, torch.float64), SIZE)


def images(generator, n=3):
    return torch.rand(n, *SIZE, generator=generator, dtype=torch.float64)


def test_it_reaches_the_closed_form(generator):
    y, lam = images(generator), 0.003
    run = accelerated_gradient(LeastSquares(OP, y) + Tychonov(lam), y, max_iter=3000, rtol=1e-13)
    assert run.status == "converged"
    # A step of 1e-13 |x| with contraction 1 - 1/sqrt(kappa), kappa about 100: 1e-12.
    assert torch.allclose(run.x, tychonov(OP, y, lam).x, rtol=0, atol=1e-11)


def test_the_rate_is_that_of_the_square_root(generator):
    """f(x_n) - f* <= 2 L |x_0 - x*|^2 / (n + 1)^2 until the first restart (Beck & Teboulle)."""
    y, lam = images(generator), 1e-4
    f, best = LeastSquares(OP, y) + Tychonov(lam), tychonov(OP, y, lam).x
    L = hessian_spectrum(OP, lam, SIZE[1:]).max().item()
    zero = torch.zeros_like(y)
    gap = accelerated_gradient(f, zero, step_size=1 / L, max_iter=60, rtol=0).history["objective"]
    gap = gap - f(best)
    n = torch.arange(1, len(gap), dtype=torch.float64)[:, None]
    bound = 2 * L * best.flatten(1).square().sum(1) / (n + 1).square()
    assert (gap[1:] <= bound + 1e-12).all()
    plain = gradient_descent(f, zero, step_size=1 / L, max_iter=60, rtol=0).history["objective"]
    assert (gap[-1] < 0.25 * (plain[-1] - f(best))).all()  # and well ahead of plain descent


def test_history_is_the_objective_of_each_iterate(generator):
    """Of the iterates themselves, not of the points ahead of them."""
    x0, y = images(generator), images(generator)
    f = LeastSquares(OP, y) + Tychonov(0.003)
    run = accelerated_gradient(f, x0, max_iter=7, rtol=0)
    assert run.history["objective"].shape == (8, 3)
    for iterate, row in (x0, 0), (run.x, -1):
        assert torch.equal(run.history["objective"][row], f(iterate))
        norm = f.grad(iterate).flatten(1).norm(dim=1)
        torch.testing.assert_close(run.history["gradient_norm"][row], norm)
    before = accelerated_gradient(f, x0, max_iter=6, rtol=0).x
    assert torch.equal(run.history["objective"][-2], f(before))


def test_restarts_give_linear_convergence(generator):
    y, lam = images(generator), 0.01
    f = LeastSquares(Denoising(SIZE), y) + SmoothedTV(lam, 0.001)
    floor = accelerated_gradient(f, y, max_iter=5000, rtol=1e-14).history["objective"].min(0).values
    gap = accelerated_gradient(f, y, max_iter=400, rtol=0).history["objective"] - floor
    assert (gap[300] <= 1e-6 * gap[0]).all()


def test_projection_and_first_order_condition(generator):
    """Known pixels stay, and the gradient of smoothed TV vanishes on the others."""
    x = images(generator)
    seen = torch.rand(SIZE, generator=generator) < 0.5
    op = Inpainting(seen)
    y = op.A(x)
    f = SmoothedTV(1.0, 0.05)
    run = accelerated_gradient(f, y, max_iter=5000, rtol=1e-12, project=project_consistent(op, y))
    assert torch.equal(op.A(run.x), y)
    assert f.grad(run.x)[:, ~seen].abs().max() <= 1e-6


def test_continuation_ends_at_the_last_level(generator):
    y = images(generator)
    problem = lambda eps: LeastSquares(OP, y) + SmoothedTV(0.02, eps)  # noqa: E731
    direct = accelerated_gradient(problem(0.1), y, max_iter=5000, rtol=1e-12)
    staged = continuation(problem, y, [1.0, 0.3, 0.1], max_iter=5000, rtol=1e-12)
    assert torch.allclose(direct.x, staged.x, rtol=0, atol=1e-9)
    lengths = {len(rows) for name, rows in staged.history.items() if name != "change"}
    assert lengths == {len(staged.history["change"]) + 3}  # one more row of iterates a level


def test_bad_input(generator):
    y = images(generator)
    f = LeastSquares(OP, y)
    with pytest.raises(ValueError, match="accelerated_gradient: step_size must be a positive"):
        accelerated_gradient(f, y, step_size=-1.0)
    with pytest.raises(ValueError, match="continuation: expected at least one level"):
        continuation(lambda _: f, y, [])
    with pytest.raises(TypeError, match="SmoothedTV is not quadratic"):
        gradient_descent(f + SmoothedTV(0.1, 0.1), y, step_size="optimal")
    with pytest.raises(ValueError, match="SmoothedTV: eps must be positive"):
        SmoothedTV(0.1, 0.0)


def test_lipschitz_bound_of_the_sum(generator):
    """|A|^2 + 8 lam / eps is attained at constants by the checkerboard, on even sides."""
    f = LeastSquares(Denoising((1, 8, 6)), torch.zeros(1, 1, 8, 6).double()) + SmoothedTV(0.3, 0.1)
    board = (-1.0) ** (torch.arange(8)[:, None] + torch.arange(6)).double()
    flat = torch.zeros(1, 1, 8, 6, dtype=torch.float64)
    change = f.grad(flat + 1e-7 * board) - f.grad(flat)
    assert (change.norm() / (1e-7 * board.norm())).item() == pytest.approx(f.lipschitz, rel=1e-6)
