"""What solvers record is what it is called: every column is recomputed from the iterates.

The iterate x_k is where a run of k steps ends, since no solver here looks ahead to its last step.
"""

from itertools import pairwise

import pytest
import torch

from course_lib.batch import norm, per_image
from course_lib.operators import Blur
from course_lib.solvers import (
    LBFGS,
    Adam,
    accelerated_gradient,
    accelerated_proximal_gradient,
    conjugate_gradient,
    continuation,
    gradient_descent,
    minimise,
    primal_dual_tv,
    proximal_gradient,
)
from course_lib.solvers.solution import History, Solution, status_of

F64, N_STEPS = torch.float64, 12
M = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
DATA = torch.randn(2, 5, generator=torch.Generator().manual_seed(1), dtype=F64)
START = torch.randn(2, 3, generator=torch.Generator().manual_seed(2), dtype=F64)
WEIGHT = 0.3


class Fit:
    """|M x - y|^2 / 2, with an offset so that no factor of the value can hide."""

    lipschitz = torch.linalg.matrix_norm(M, 2).item() ** 2

    def __call__(self, x):
        return (x @ M.T - DATA).square().sum(1) / 2 + 7

    def grad(self, x):
        return (x @ M.T - DATA) @ M

    def hvp(self, v):
        return v @ M.T @ M


class Lasso:
    def __call__(self, x):
        return WEIGHT * x.abs().sum(1)

    def prox(self, x, step_size):
        return x.sign() * (x.abs() - WEIGHT * step_size).clamp(min=0)


BLUR = Blur(torch.tensor([[[[0.1, 0.6, 0.3]]]], dtype=F64), (1, 4, 5))
IMAGES = torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(3), dtype=F64)


def value(x):
    return torch.stack([((M @ a - y) ** 2).sum() / 2 + 7 for a, y in zip(x, DATA, strict=True)])


def slope(x):
    """|grad f(x)| by automatic differentiation."""
    x = x.clone().requires_grad_()
    return norm(torch.autograd.grad(value(x).sum(), x)[0])


def lasso(x):
    return value(x) + WEIGHT * x.abs().sum(1)


def residual(x):
    return norm(DATA @ M - x @ M.T @ M) / norm(DATA @ M)


def total_variation(x):
    down, right = x.roll(-1, 2) - x, x.roll(-1, 3) - x
    blurred = 0.1 * x.roll(-1, 3) + 0.6 * x + 0.3 * x.roll(1, 3)
    fit = (blurred - IMAGES).square().sum((1, 2, 3)) / 2
    return fit + WEIGHT * (down**2 + right**2).sqrt().sum((1, 2, 3))


def ahead(iterates):
    """The points at which an accelerated method takes its gradients, written out."""
    z, t = [iterates[0]], torch.ones(2, dtype=F64)
    for old, x in pairwise(iterates):
        t = torch.where(((z[-1] - x) * (x - old)).sum(1) > 0, 1, t)
        t_new = (1 + (1 + 4 * t**2).sqrt()) / 2
        z.append(x + per_image((t - 1) / t_new, x) * (x - old))
        t = t_new
    return z


def of_each(f):
    return lambda iterates: torch.stack([f(x) for x in iterates])


def change(iterates):
    return torch.stack([norm(b - a) for a, b in pairwise(iterates)])


def accelerated_slope(iterates):
    """At the points ahead; in the last row, which no step follows, at the iterate."""
    return torch.stack([slope(x) for x in [*ahead(iterates)[:-1], iterates[-1]]])


DESCENT = {"objective": of_each(value), "gradient_norm": of_each(slope), "change": change}
COMPOSITE = {"objective": of_each(lasso), "change": change}
SOLVERS = {  # run of given length, its columns
    "gradient_descent": (lambda **o: gradient_descent(Fit(), START, **o), DESCENT),
    "optimal steps": (
        lambda **o: gradient_descent(Fit(), START, step_size="optimal", **o),
        DESCENT,
    ),
    "projected": (
        lambda **o: gradient_descent(Fit(), START, project=lambda x: x.clamp(-0.5, 0.5), **o),
        DESCENT,
    ),
    "accelerated_gradient": (
        lambda **o: accelerated_gradient(Fit(), START, **o),
        DESCENT | {"gradient_norm": accelerated_slope},
    ),
    "proximal_gradient": (lambda **o: proximal_gradient(Fit(), Lasso(), START, **o), COMPOSITE),
    "accelerated_proximal_gradient": (
        lambda **o: accelerated_proximal_gradient(Fit(), Lasso(), START, **o),
        COMPOSITE,
    ),
    "conjugate_gradient": (  # three numbers: exact after three steps
        lambda max_iter, rtol: conjugate_gradient(
            lambda x: x @ M.T @ M, DATA @ M, START, max_iter=min(max_iter, 3), rtol=rtol
        ),
        {"residual": lambda iterates: of_each(residual)(iterates[1:])},
    ),
    "primal_dual_tv": (
        lambda **o: primal_dual_tv(BLUR, IMAGES, WEIGHT, **o),
        {"objective": of_each(total_variation), "change": change},
    ),
}


@pytest.mark.parametrize(("run", "columns"), SOLVERS.values(), ids=SOLVERS)
def test_every_column_is_that_of_the_iterates(run, columns):
    found = run(max_iter=N_STEPS, rtol=0.0)
    iterates = [run(max_iter=k, rtol=0.0).x for k in range(found.iterations + 1)]
    assert found.history.keys() == columns.keys()
    assert found.iterations >= 3
    for name, column in columns.items():
        # some roundings of numbers of order one; a residual of three exact steps is rounding only
        torch.testing.assert_close(found.history[name], column(iterates), rtol=1e-12, atol=1e-13)


def test_the_accelerated_problem_does_restart():
    """Else the rows above would not tell a method with restarts from one without."""
    found = accelerated_gradient(Fit(), START, max_iter=30, rtol=0.0)
    iterates = [accelerated_gradient(Fit(), START, max_iter=k, rtol=0.0).x for k in range(31)]
    expected = accelerated_slope(iterates)
    torch.testing.assert_close(found.history["gradient_norm"], expected, rtol=1e-9, atol=1e-12)
    z, x = torch.stack(ahead(iterates)), torch.stack(iterates)
    assert (((z[:-1] - x[1:]) * x.diff(dim=0)).sum(2) > 0).any()


@pytest.mark.parametrize("optimiser", [LBFGS, Adam])
def test_descents_record_the_objective_of_each_point(optimiser):
    """Here every step goes down, so a run of k steps ends at its best point."""

    class Rows(Fit):
        def value_and_grad(self, z, rows):
            residual = z @ M.T - DATA[rows]
            return residual.square().sum(1) / 2 + 7, residual @ M

    def run(k):
        return minimise(Rows(), START, optimiser(k, step_size=0.01, rtol=0.0))

    history = run(N_STEPS).history
    expected = torch.stack([value(START), *(value(run(k).z) for k in range(1, len(history)))])
    assert (history.diff(dim=0) <= 0).all()
    torch.testing.assert_close(history, expected, rtol=1e-13, atol=0)


def test_continuation_puts_the_histories_of_its_levels_one_behind_the_other():
    class Scaled(Fit):
        def __init__(self, level):
            self.level, self.lipschitz = level, level * Fit.lipschitz

        def __call__(self, x):
            return self.level * super().__call__(x)

        def grad(self, x):
            return self.level * super().grad(x)

    joined = continuation(Scaled, START, [3.0, 0.5], max_iter=4, rtol=0.0)
    first = accelerated_gradient(Scaled(3.0), START, max_iter=4, rtol=0.0)
    second = accelerated_gradient(Scaled(0.5), first.x, max_iter=4, rtol=0.0)
    assert torch.equal(joined.x, second.x)
    assert joined.iterations == 8
    for name, rows in joined.history.items():
        assert torch.equal(rows, torch.cat([first.history[name], second.history[name]]))


def test_rows_under_names():
    """One row a call under each name, without gradients; names are there though nothing came."""
    history = History("loss", "never")
    for k in range(3):
        history.add(loss=torch.tensor([k, 10.0 * k], requires_grad=True))
    rows = history.stack()
    assert rows["loss"].tolist() == [[0, 0], [1, 10], [2, 20]]
    assert not rows["loss"].requires_grad
    assert rows["never"].shape == (0, 0)
    cut = Solution(START, "max_iter", {"loss": rows["loss"]}, 2).without_start()
    assert cut.history["loss"].tolist() == [[1, 10], [2, 20]]


@pytest.mark.parametrize(
    ("converged", "diverged", "status"),
    [
        ([True, True], [False, False], "converged"),
        ([True, False], [False, False], "max_iter"),
        ([True, True], [True, False], "diverged"),
        ([False, False], [False, True], "diverged"),
    ],
)
def test_status_of_a_batch(converged, diverged, status):
    assert status_of(torch.tensor(converged), torch.tensor(diverged)) == status
