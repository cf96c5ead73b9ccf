"""The solver alone, on equations with known solutions."""

import math

import pytest
import torch

from course_lib.diffusion.runge_kutta import DEFECT, NODES, STAGES, integrate, integrate_adaptively


def pendulum(u, state):
    """x'' = -x with a time of its own: (x, v) -> (v, -x) cos u, so that the angle is sin u."""
    return torch.stack([state[:, 1], -state[:, 0]], dim=1) * u.cos()[:, None]


def exact(state, start, end):
    angle = torch.tensor(math.sin(end) - math.sin(start), dtype=torch.float64)
    c, s = angle.cos(), angle.sin()
    return torch.stack(
        [c * state[:, 0] + s * state[:, 1], c * state[:, 1] - s * state[:, 0]], dim=1
    )


def length(*given):
    """Of the error, the last of what a norm and a measure are given."""
    return given[-1].norm(dim=1)


@pytest.fixture
def start(generator):
    return torch.randn(5, 2, generator=generator, dtype=torch.float64)


def test_coefficients_are_consistent():
    """Each row of weights sums to its node, and the weights of the defect to zero."""
    for node, weights in zip(NODES, STAGES, strict=True):
        assert sum(weights) == pytest.approx(node, abs=1e-14)
    assert sum(DEFECT) == pytest.approx(0, abs=1e-15)


def test_order_five(start):
    errors = []
    for n in (8, 16, 32):
        end = integrate(pendulum, start, 0.0, 1.4, n_steps=n, measure=length)
        assert (end.evaluations == 6 * n + 1).all()
        errors.append((end.state - exact(start, 0.0, 1.4)).norm().item())
    # 2^5 = 32 in the limit; 0.3 in the exponent covers the next order at 32 steps
    assert math.log2(errors[1] / errors[2]) == pytest.approx(5, abs=0.3)


def test_defect_is_of_order_five_a_step_and_larger_than_the_error(start):
    """Summed over the steps it is the error of order 4, above that of order 5."""
    coarse, fine = (
        integrate(pendulum, start, 0.0, 1.4, n_steps=n, measure=length) for n in (8, 16)
    )
    assert math.log2(coarse.defect.norm() / fine.defect.norm()) == pytest.approx(4, abs=0.5)
    assert (fine.defect > (fine.state - exact(start, 0.0, 1.4)).norm(dim=1)).all()


def test_adaptive_steps_meet_their_tolerance(start):
    for tolerance in (1e-4, 1e-7, 1e-10):
        end = integrate_adaptively(
            pendulum,
            start,
            0.0,
            1.4,
            tolerance=tolerance,
            norm=length,
            measure=length,
            first_step=0.3,
        )
        error = (end.state - exact(start, 0.0, 1.4)).norm(dim=1)
        # A few steps with local errors below the tolerance, and order 5 is better than that.
        assert (error < 10 * tolerance).all()


def test_equations_of_a_batch_are_alone(start):
    """Each row, adaptive steps included, is what it would be without the others."""
    stiff = torch.tensor([1.0, 3.0, 10.0, 0.1, 5.0], dtype=torch.float64)

    def slope(u, state):
        """The rate of each row is its third number, since rows leave the batch one by one."""
        decay = -state[:, 2:] * state[:, :2] * (1 + u[:, None])
        return torch.cat([decay, torch.zeros_like(state[:, 2:])], dim=1)

    def run(rates, state):
        wide = torch.cat([state, rates[:, None]], dim=1)
        options = {"norm": length, "measure": length, "first_step": 0.1}
        return integrate_adaptively(slope, wide, 0.0, 1.0, tolerance=1e-6, **options)

    together = run(stiff, start)
    for row in range(len(start)):
        alone = run(stiff[row : row + 1], start[row : row + 1])
        torch.testing.assert_close(together.state[row], alone.state[0], rtol=0, atol=0)
        assert together.evaluations[row] == alone.evaluations[0]
    decay = (-stiff * 1.5).exp()[:, None] * start
    torch.testing.assert_close(together.state[:, :2], decay, rtol=0, atol=1e-5)
    assert together.evaluations.unique().numel() > 1  # they did take different steps


def test_refusals(start):
    with pytest.raises(ValueError, match="at least 1"):
        integrate(pendulum, start, 0.0, 1.0, n_steps=0, measure=length)
    with pytest.raises(RuntimeError, match="not finite"):
        integrate_adaptively(
            lambda u, s: s * torch.nan,
            start,
            0.0,
            1.0,
            tolerance=1e-3,
            norm=length,
            measure=length,
            first_step=0.1,
        )
