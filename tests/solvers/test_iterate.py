"""The one loop: which images it moves, when it freezes them, what it records, how it ends."""

import pytest
import torch
from helpers import assert_batch_independent

from course_lib.batch import norm
from course_lib.functionals import DCT, LeastSquares, Ridge, SmoothedTV, Sparsity
from course_lib.operators import Blur, CompressedSensing, Denoising, gaussian_kernel
from course_lib.solvers import (
    accelerated_gradient,
    accelerated_proximal_gradient,
    conjugate_gradient,
    gradient_descent,
    primal_dual_tv,
    proximal_gradient,
)
from course_lib.solvers.iterate import iterate

F64 = torch.float64
SIZE = (1, 8, 6)


def towards_one(x):
    """Halves the distance to 1, and records it."""
    return (1 + x) / 2, {"distance": norm(x - 1)}


def by_hand(x, max_iter, rtol):
    """One image by the definition: its iterates, and whether it converged."""
    iterates = [x]
    while len(iterates) <= max_iter:
        iterates.append((1 + iterates[-1]) / 2)
        if (iterates[-1] - iterates[-2]).norm() <= rtol * iterates[-1].norm():
            return iterates, True
    return iterates, False


@pytest.mark.parametrize("rtol", [0.0, 1e-3, 0.4])
@pytest.mark.parametrize("max_iter", [0, 1, 6, 100])
def test_every_image_stops_by_its_own_rule(max_iter, rtol):
    """Frozen images repeat their last row to the last bit; the longest run counts."""
    x0 = 1 + torch.tensor([[3.0, 1.0], [0.0, 0.0], [1e-2, 0.0], [200.0, -7.0]], dtype=F64)
    found = iterate(towards_one, x0, max_iter=max_iter, rtol=rtol)
    runs = [by_hand(x, max_iter, rtol) for x in x0]
    n = max(len(iterates) for iterates, _ in runs) - 1
    assert found.iterations == n
    assert found.status == ("converged" if all(done for _, done in runs) else "max_iter")
    for i, (iterates, _) in enumerate(runs):
        iterates = torch.stack(iterates + iterates[-1:] * (n + 1 - len(iterates)))
        assert torch.equal(found.x[i], iterates[-1])
        assert torch.equal(found.history["distance"][:, i], norm(iterates - 1))
        if n:
            assert torch.equal(found.history["change"][:, i], norm(iterates.diff(dim=0)))
    if max_iter == 100 and rtol:
        assert len({len(iterates) for iterates, _ in runs}) > 2


@pytest.mark.parametrize("bad", [torch.inf, torch.nan])
def test_one_image_that_diverges_does_not_stop_the_others(bad):
    """Its status is that of the batch, and its numbers are never mended."""

    def step(x):
        return torch.where(x > 50, bad, (1 + x) / 2), {}

    found = iterate(step, torch.tensor([[100.0], [40.0], [1.0]]), max_iter=100, rtol=1e-3)
    assert found.status == "diverged"
    assert not found.x[0].isfinite()
    assert torch.allclose(found.x[1:], torch.ones(2, 1), rtol=1e-2)
    change = found.history["change"]
    assert not change[0, 0].isfinite()
    assert 5 < found.iterations == len(change) < 20


def test_the_last_row_costs_no_step_where_it_is_given():
    calls = []

    def step(x):
        calls.append(x)
        return towards_one(x)

    x0 = torch.full((2, 3), 5.0)
    plain = iterate(step, x0, max_iter=4, rtol=0)
    assert len(calls) == 5
    given = iterate(step, x0, max_iter=4, rtol=0, last=lambda x: {"distance": 10 * norm(x - 1)})
    assert len(calls) == 9
    assert torch.equal(given.x, plain.x)
    assert torch.equal(given.history["distance"][:-1], plain.history["distance"][:-1])
    assert torch.equal(given.history["distance"][-1], 10 * plain.history["distance"][-1])


def test_an_error_of_ones_own_replaces_the_change_also_at_the_start():
    """An image that has met it is frozen for good, even if its error rises again."""
    distance = torch.tensor([0.0, 1.0, 8.0])

    def step(x):
        nonlocal distance
        distance = torch.where(distance > 0.6, distance / 2, 50.0)
        return x + 1, {"distance": distance}

    found = iterate(step, torch.zeros(3, 1), max_iter=9, rtol=0.6, error=lambda: distance)
    assert found.x.flatten().tolist() == [0, 1, 4]
    assert found.status == "converged"
    assert found.iterations == 4
    distance = torch.zeros(3)
    still = iterate(step, torch.zeros(3, 1), max_iter=9, rtol=0.6, error=lambda: distance)
    assert (still.iterations, still.status) == (0, "converged")


def test_rows_without_the_start():
    run = iterate(towards_one, torch.tensor([[9.0]]), max_iter=3, rtol=0)
    assert run.history["distance"].flatten().tolist() == [8, 4, 2, 1]
    rows = run.without_start().history
    assert {name: row.flatten().tolist() for name, row in rows.items()} == {
        "distance": [4, 2, 1],
        "change": [4, 2, 1],
    }
    none = iterate(towards_one, torch.tensor([[9.0]]), max_iter=0, rtol=0).without_start()
    assert [len(rows) for rows in none.history.values()] == [0, 0]


# ------------------------------------------------------------------ every solver, image by image


class Shifted:
    """1/2 <x - 1, H (x - 1)> with a diagonal H; relative changes tend to zero."""

    h = torch.tensor([0.5, 1.0, 1.3], dtype=F64)
    lipschitz = 1.3

    def __call__(self, x):
        return (self.h * (x - 1).square()).sum(1) / 2

    def grad(self, x):
        return self.h * (x - 1)

    def hvp(self, v):
        return self.h * v


OP = Blur(gaussian_kernel(1.0, 5, F64), SIZE)
CS = CompressedSensing(30, SIZE, torch.Generator().manual_seed(1), dtype=F64)


def near_one(generator):
    scale = torch.tensor([1.0, 0.0, 1e-2, 30.0], dtype=F64)[:, None]
    return 1 + scale * torch.randn(4, 3, generator=generator, dtype=F64)


def right_hand_sides(generator):
    """Done before the first step; done early, as nearly an eigenvector; the others later."""
    b = torch.randn(4, 12, generator=generator, dtype=F64)
    b[0] = 0
    b[1, 1:] *= 0.02
    return b


def measurements(generator, op=OP):
    """Images of different contrast, one of them constant."""
    scale = torch.tensor([0.0, 0.1, 1.0, 10.0], dtype=F64).reshape(4, 1, 1, 1)
    return op.A(0.5 + scale * torch.randn(4, *SIZE, generator=generator, dtype=F64))


def descend(**options):
    return lambda x0: gradient_descent(Shifted(), x0, max_iter=200, rtol=1e-4, **options)


def lasso(y):
    """A weight for each image, by the size of its data."""
    g = Sparsity(0.02 * norm(y), DCT(SIZE))
    zero = torch.zeros(len(y), *SIZE, dtype=F64)
    return accelerated_proximal_gradient(LeastSquares(CS, y), g, zero, rtol=1e-4)


def smooth_tv(y):
    return accelerated_gradient(LeastSquares(OP, y) + SmoothedTV(0.01, 0.2), y, rtol=1e-4)


DIAGONAL = torch.linspace(1, 30, 12, dtype=F64)
SOLVERS = {  # data, solver, tolerance: transforms of a batch and of one image may round differently
    "gradient": (near_one, descend(), 0),
    "optimal": (near_one, descend(step_size="optimal"), 0),
    "given_step": (near_one, descend(step_size=0.7), 0),
    "projected": (near_one, descend(project=lambda x: x.clamp(max=1.2)), 0),
    "accelerated": (near_one, lambda x0: accelerated_gradient(Shifted(), x0, rtol=1e-4), 0),
    "proximal": (near_one, lambda x0: proximal_gradient(Shifted(), Ridge(0.1), x0, rtol=1e-4), 0),
    "accelerated_proximal": (
        near_one,
        lambda x0: accelerated_proximal_gradient(Shifted(), Ridge(0.1), x0, rtol=1e-4),
        0,
    ),
    "conjugate": (
        right_hand_sides,
        lambda b: conjugate_gradient(lambda x: DIAGONAL * x, b, rtol=1e-2),
        0,
    ),
    "primal_dual": (
        measurements,
        lambda y: primal_dual_tv(Denoising(SIZE), y, 0.1, rtol=1e-4),
        1e-12,
    ),
    "total_variation": (measurements, smooth_tv, 1e-12),
    "lasso": (lambda g: measurements(g, CS), lasso, 1e-10),
}


@pytest.mark.slow
@pytest.mark.parametrize(("data", "solve", "atol"), SOLVERS.values(), ids=SOLVERS)
def test_a_batch_is_a_loop(data, solve, atol, generator):
    """Iterates and history of each image, also of those that stopped early and were frozen."""
    data = data(generator)
    together = solve(data)
    assert together.status == "converged"
    assert_batch_independent(lambda d: solve(d).x, data, rtol=0, atol=atol)
    alone = [solve(image) for image in data.split(1)]
    assert together.iterations == max(one.iterations for one in alone)
    assert len({one.iterations for one in alone}) > 2  # some were frozen while others moved
    for i, one in enumerate(alone):
        for name, rows in one.without_start().history.items():
            ours = together.without_start().history[name][:, i]
            # accelerated steps record the gradient at the point ahead, in the last row at x
            kept = len(rows) - (name == "gradient_norm")
            torch.testing.assert_close(ours[:kept], rows[:kept, 0], rtol=0, atol=100 * atol)
            frozen = ours[len(rows) :]
            assert (frozen == (0 if name == "change" else frozen[:1])).all()
