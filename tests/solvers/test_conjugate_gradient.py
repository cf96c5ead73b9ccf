"""Conjugate gradients against dense solves."""

import pytest
import torch

from course_lib.solvers import conjugate_gradient


def spd(n, generator, rank=None):
    """A symmetric map of the given rank with eigenvalues of the order of one."""
    factor = torch.randn(n, rank or 2 * n, generator=generator, dtype=torch.float64)
    return factor @ factor.T / n


def test_it_meets_the_dense_solution(generator):
    H = spd(12, generator)
    b = torch.randn(3, 12, generator=generator, dtype=torch.float64)
    solution = conjugate_gradient(lambda x: x @ H, b, rtol=1e-13)
    assert solution.status == "converged"
    assert (solution.x - torch.linalg.solve(H, b.T).T).norm() <= 1e-10 * solution.x.norm()


def test_image_shaped_unknowns(generator):
    H = spd(24, generator)
    b = torch.randn(2, 1, 4, 6, generator=generator, dtype=torch.float64)
    solution = conjugate_gradient(lambda x: (x.flatten(1) @ H).view_as(x), b, rtol=1e-13)
    expected = torch.linalg.solve(H, b.flatten(1).T).T.view_as(b)
    assert (solution.x - expected).norm() <= 1e-10 * expected.norm()


def test_a_singular_map_gives_the_shortest_solution_from_zero(generator):
    H = spd(12, generator, rank=5)
    b = torch.randn(3, 12, generator=generator, dtype=torch.float64) @ H  # in the range
    x = conjugate_gradient(lambda u: u @ H, b, rtol=1e-13).x
    assert (x - b @ torch.linalg.pinv(H, rtol=1e-12)).norm() <= 1e-9 * x.norm()


def test_n_steps_are_enough_and_fewer_for_few_eigenvalues(generator):
    """Three distinct eigenvalues: three steps, up to rounding."""
    h = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64).repeat(4)
    b = torch.randn(1, 12, generator=generator, dtype=torch.float64)
    solution = conjugate_gradient(lambda x: h * x, b, max_iter=3, rtol=0.0)
    assert torch.allclose(solution.x, b / h, rtol=0, atol=1e-13)


def test_rate_bound(generator):
    """|x_n - x*|_H <= 2 ((sqrt(kappa) - 1)/(sqrt(kappa) + 1))^n |x*|_H."""
    h = torch.linspace(1, 100, 60, dtype=torch.float64)
    b = torch.randn(1, 60, generator=generator, dtype=torch.float64)
    best = b / h
    for n in (1, 5, 20):
        error = conjugate_gradient(lambda x: h * x, b, max_iter=n, rtol=0.0).x - best
        bound = 2 * (9 / 11) ** n * (h * best.square()).sum().sqrt()
        assert (h * error.square()).sum().sqrt() <= bound


def test_the_residual_in_the_history_is_the_true_one(generator):
    H = spd(12, generator)
    b = torch.randn(2, 12, generator=generator, dtype=torch.float64)
    solution = conjugate_gradient(lambda x: x @ H, b, max_iter=4, rtol=0.0)
    residual = (b - solution.x @ H).norm(dim=1) / b.norm(dim=1)
    assert solution.history["residual"].shape == (4, 2)
    assert solution.iterations == 4
    assert solution.status == "max_iter"
    assert torch.allclose(solution.history["residual"][-1], residual, rtol=1e-10)


def test_it_stops_at_the_promised_residual(generator):
    H = spd(12, generator)
    b = torch.randn(1, 12, generator=generator, dtype=torch.float64)
    residual = conjugate_gradient(lambda x: x @ H, b, rtol=1e-3).history["residual"][:, 0]
    assert residual[-1] <= 1e-3
    assert (residual[:-1] > 1e-3).all()


def test_a_start_at_the_solution_takes_no_step(generator):
    H = spd(6, generator)
    x = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    solution = conjugate_gradient(lambda u: u @ H, x @ H, x, rtol=1e-10)
    assert torch.equal(solution.x, x)
    assert solution.status == "converged"
    assert solution.iterations == 0


def test_zero_right_hand_side():
    solution = conjugate_gradient(lambda u: 2 * u, torch.zeros(2, 3))
    assert torch.equal(solution.x, torch.zeros(2, 3))
    assert solution.status == "converged"


def test_an_explosion_is_reported():
    huge = torch.full((1, 2), 1e300, dtype=torch.float64)
    solution = conjugate_gradient(lambda x: x * 1e300, huge, max_iter=5)
    assert solution.status == "diverged"


def test_bad_input():
    with pytest.raises(ValueError, match="b needs a leading batch axis"):
        conjugate_gradient(lambda x: x, torch.ones(3))
    with pytest.raises(ValueError, match="b holds 1 values that are NaN"):
        conjugate_gradient(lambda x: x, torch.tensor([[1.0, torch.inf]]))
    with pytest.raises(ValueError, match="x0 holds 2 values that are NaN"):
        conjugate_gradient(lambda x: x, torch.ones(1, 2), torch.full((1, 2), torch.nan))
