"""Batched descent: Adam is torch's, L-BFGS meets its secants, rows do not see each other."""

import pytest
import torch

from course_lib.rng import generator_from
from course_lib.solvers import LBFGS, Adam, minimise

CURVATURES = torch.tensor([[1.0, 10.0, 100.0], [5.0, 2.0, 0.1]], dtype=torch.float64)


class Quadratics:
    """1/2 sum of h z^2 in each row, with its own curvatures h."""

    def __init__(self, curvatures=CURVATURES):
        self.h = curvatures

    def value_and_grad(self, z, rows):
        return (self.h[rows] * z.square()).sum(1) / 2, self.h[rows] * z


class Rosenbrock:
    """(1 - a)^2 + c (b - a^2)^2, with its own c in each row; the minimum is at (1, 1)."""

    def __init__(self, c):
        self.c = c

    def value_and_grad(self, z, rows):
        a, b, c = z[:, 0], z[:, 1], self.c[rows]
        bend = b - a.square()
        grad = torch.stack([2 * (a - 1) - 4 * c * a * bend, 2 * c * bend], 1)
        return (1 - a).square() + c * bend.square(), grad


ROSENBROCK = Rosenbrock(torch.tensor([1.0, 10.0, 100.0]).double())
START = torch.tensor([[-1.2, 1.0]]).double().expand(3, 2)


def test_adam_is_that_of_torch():
    f, start = ROSENBROCK, START
    z = start.clone().requires_grad_()
    theirs = torch.optim.Adam([z], lr=0.07)
    for _ in range(5):
        z.grad = f.value_and_grad(z.detach(), torch.arange(3))[1]
        theirs.step()
    value, _ = f.value_and_grad(z.detach(), torch.arange(3))
    ours = minimise(f, start, Adam(max_iter=5, step_size=0.07))
    torch.testing.assert_close(ours.history[-1], value, rtol=1e-10, atol=0)  # eps placed elsewhere


def test_inverse_hessian_meets_the_last_secant():
    """H (g_new - g_old) = z_new - z_old for the last pair, in each row with its own Hessian."""
    evaluate, rows = Quadratics().value_and_grad, torch.arange(2)
    step, z = LBFGS(step_size=0.1).start(evaluate), torch.ones(2, 3, dtype=torch.float64)
    value, grad = evaluate(z, rows)
    for _ in range(4):
        old_z, old_grad = z, grad
        z, value, grad = step(z, value, grad, rows)
        secant = step._inverse_hessian(grad - old_grad)
        torch.testing.assert_close(secant, z - old_z, rtol=0, atol=1e-13)


def test_first_step_has_the_length_that_is_asked_for():
    """Root mean square 0.01, down the gradient: too short to fail the decrease here."""
    z = torch.ones(2, 3, dtype=torch.float64)
    _, grad = Quadratics().value_and_grad(z, torch.arange(2))
    move = minimise(Quadratics(), z, LBFGS(max_iter=1, step_size=0.01)).z - z
    expected = -0.01 * grad / grad.square().mean(1, keepdim=True).sqrt()
    torch.testing.assert_close(move, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("history", [1, 10])
def test_lbfgs_minimises(history):
    """To the last digits: f is flat to 1e-16 within 1e-8 of the minimum."""
    end = minimise(ROSENBROCK, START, LBFGS(rtol=1e-14, history=history))
    assert end.converged.all()
    torch.testing.assert_close(end.z, torch.ones(3, 2).double(), rtol=0, atol=1e-6)
    assert (end.history.diff(dim=0) <= 0).all()  # sufficient decrease, or no step
    torch.testing.assert_close(end.history[-1], end.value, rtol=0, atol=0)


@pytest.mark.parametrize("optimiser", [LBFGS(40), Adam(40)], ids=["lbfgs", "adam"])
def test_rows_do_not_see_each_other(optimiser):
    together = minimise(ROSENBROCK, START, optimiser)
    for i in range(3):
        alone = minimise(Rosenbrock(ROSENBROCK.c[i : i + 1]), START[:1], optimiser)
        torch.testing.assert_close(together.z[i : i + 1], alone.z, rtol=1e-12, atol=0)
        rows = len(alone.history)
        torch.testing.assert_close(
            together.history[:rows, i], alone.history[:, 0], rtol=1e-9, atol=1e-30
        )


def test_adam_returns_the_best_iterate():
    """A step too long overshoots: the start stays the best."""
    end = minimise(Quadratics(), torch.full((2, 3), 0.1).double(), Adam(1, step_size=5.0))
    assert (end.history[1] > end.history[0]).all()
    torch.testing.assert_close(end.value, end.history[0], rtol=0, atol=0)
    torch.testing.assert_close(end.z, torch.full((2, 3), 0.1).double(), rtol=0, atol=0)


def test_a_row_that_leaves_the_finite_numbers_stops_alone():
    class Logarithm:
        def value_and_grad(self, z, rows):
            return z.log().square().sum(1), 2 * z.log() / z

    end = minimise(Logarithm(), torch.tensor([[-1.0], [3.0]]).double(), LBFGS(rtol=1e-14))
    assert end.converged.tolist() == [False, True]
    assert end.value.isnan().tolist() == [True, False]
    torch.testing.assert_close(end.z[1], torch.ones(1).double(), rtol=0, atol=1e-6)


def test_a_step_that_fails_is_tried_again_down_the_gradient():
    """On a nearly flat slope L-BFGS learns a step of 1e7, too long for the wall at 1 even after
    its twelve trials: it rests, forgets, and goes on by steps of the first length."""

    class Wall:
        def value_and_grad(self, z, rows):
            inside = (z - 1).clamp(min=0)
            value = -1e-6 * z + 1e-13 * z**2 / 2 + 1e4 * inside**2 / 2
            return value.sum(1), -1e-6 + 1e-13 * z + 1e4 * inside

    end = minimise(Wall(), torch.zeros(1, 1).double(), LBFGS(100, step_size=0.05, rtol=0.0))
    assert (end.history.diff(dim=0) == 0).any()
    torch.testing.assert_close(end.z, torch.ones(1, 1).double(), rtol=0, atol=1e-3)


def test_latents_of_any_shape():
    z = torch.randn(2, 1, 3, generator=generator_from(0), dtype=torch.float64)

    class Maps(Quadratics):
        def value_and_grad(self, z, rows):
            value, grad = super().value_and_grad(z.flatten(1), rows)
            return value, grad.view_as(z)

    assert minimise(Maps(), z, LBFGS(3)).z.shape == z.shape


@pytest.mark.parametrize("kind", [LBFGS, Adam])
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"max_iter": 0}, "max_iter and history must be at least 1"),
        ({"step_size": 0.0}, "step_size must be positive"),
        ({"step_size": float("inf")}, "step_size must be positive"),
        ({"rtol": -1.0}, "rtol must be finite and not negative"),
        ({"rtol": float("nan")}, "rtol must be finite and not negative"),
    ],
)
def test_refusals(kind, option, message):
    with pytest.raises(ValueError, match=f"{kind.__name__}: {message}"):
        kind(**option)
    if kind is LBFGS:
        with pytest.raises(ValueError, match="LBFGS: max_iter and history"):
            LBFGS(history=0)


def test_as_many_pairs_are_remembered_as_asked_for():
    evaluate, rows = Quadratics().value_and_grad, torch.arange(2)
    step, z = LBFGS(step_size=0.1, history=3).start(evaluate), torch.ones(2, 3).double()
    value, grad = evaluate(z, rows)
    for k in range(5):
        z, value, grad = step(z, value, grad, rows)
        assert len(step.pairs) == min(k + 1, 3)
