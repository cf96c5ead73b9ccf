"""Proximal gradient meets the closed forms that its fixed points satisfy."""

import pytest
import torch

from course_lib.functionals import LeastSquares, Ridge, Tychonov
from course_lib.operators import Blur, Inpainting, gaussian_kernel
from course_lib.solvers import gradient_descent, proximal_gradient, tychonov

SIZE = (1, 9, 8)
OP = Blur(gaussian_kernel(0.8, 5, torch.float64), SIZE)


class Absolute:
    """lam |x|_1, whose proximal map is soft thresholding."""

    def __init__(self, lam):
        self.lam = lam

    def __call__(self, x):
        return self.lam * x.abs().flatten(1).sum(1)

    def prox(self, x, step_size):
        return x.sign() * (x.abs() - step_size * self.lam).clamp(min=0)


def images(generator, n=2):
    return torch.rand(n, *SIZE, generator=generator, dtype=torch.float64)


def test_tychonov_by_its_proximal_map(generator):
    y = images(generator)
    run = proximal_gradient(LeastSquares(OP, y), Tychonov(0.1), y, max_iter=3000, rtol=1e-13)
    assert run.status == "converged"
    assert torch.allclose(run.x, tychonov(OP, y, 0.1).x, rtol=0, atol=1e-10)


def test_ridge_agrees_with_descent_on_the_sum(generator):
    y = images(generator)
    f, g = LeastSquares(OP, y), Ridge(0.3)
    split = proximal_gradient(f, g, torch.zeros_like(y), max_iter=2000, rtol=1e-13)
    whole = gradient_descent(f + g, torch.zeros_like(y), max_iter=2000, rtol=1e-13)
    assert torch.allclose(split.x, whole.x, rtol=0, atol=1e-10)
    objective = split.history["objective"]
    assert (objective.diff(dim=0) <= 1e-12 * objective[0]).all()


def test_history_is_the_objective_of_each_iterate(generator):
    x0, y = images(generator), images(generator)
    f, g = LeastSquares(OP, y), Absolute(0.1)
    run = proximal_gradient(f, g, x0, max_iter=7, rtol=0)
    assert run.history["objective"].shape == (8, 2)
    assert torch.equal(run.history["objective"][0], f(x0) + g(x0))
    assert torch.equal(run.history["objective"][-1], f(run.x) + g(run.x))


def test_sparse_inpainting_in_one_step(generator):
    """A = mask: the minimiser is the soft threshold of y where it is seen, 0 elsewhere."""
    op = Inpainting(torch.rand(SIZE, generator=generator) < 0.5)
    y = op.A(images(generator) - 0.5)
    run = proximal_gradient(LeastSquares(op, y), Absolute(0.1), y, step_size=1.0)
    assert torch.allclose(run.x, Absolute(0.1).prox(y, 1.0), rtol=0, atol=1e-15)


def test_a_step_beyond_the_bound_diverges(generator):
    y = images(generator)
    run = proximal_gradient(
        LeastSquares(OP, y), Ridge(0.0), y, step_size=5.0, max_iter=3000, rtol=0
    )
    assert run.status == "diverged"
    with pytest.raises(ValueError, match="proximal_gradient: step_size must be a positive"):
        proximal_gradient(LeastSquares(OP, y), Ridge(0.1), y, step_size=0.0)
