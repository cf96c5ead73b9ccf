"""The solver alone, on equations with known solutions."""

import math

import pytest
import torch

from course_lib.diffusion.runge_kutta import DEFECT, NODES, STAGES, AdaptiveSteps, integrate


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
    """Length of the error, the last argument of a norm and of a measure."""
    return given[-1].norm(dim=1)


def run(state, steps, end=1.4, field=pendulum):
    return integrate(field, state, 0.0, end, steps, norm=length, measure=length)


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
        end = run(start, n)
        assert (end.evaluations == 6 * n + 1).all()
        errors.append((end.state - exact(start, 0.0, 1.4)).norm().item())
    # 2^5 = 32 in the limit; 0.3 in the exponent covers the next order at 32 steps
    assert math.log2(errors[1] / errors[2]) == pytest.approx(5, abs=0.3)


def test_defect_is_of_order_five_a_step_and_larger_than_the_error(start):
    """Summed over the steps it is the error of order 4, above that of order 5."""
    coarse, fine = (run(start, n) for n in (8, 16))
    assert math.log2(coarse.defect.norm() / fine.defect.norm()) == pytest.approx(4, abs=0.5)
    assert (fine.defect > (fine.state - exact(start, 0.0, 1.4)).norm(dim=1)).all()


def test_adaptive_steps_meet_their_tolerance(start):
    for tolerance in (1e-4, 1e-7, 1e-10):
        end = run(start, AdaptiveSteps(tolerance, first_step=0.3))
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

    def decayed(rates, state):
        wide = torch.cat([state, rates[:, None]], dim=1)
        return run(wide, AdaptiveSteps(1e-6, first_step=0.1), 1.0, slope)

    together = decayed(stiff, start)
    for row in range(len(start)):
        alone = decayed(stiff[row : row + 1], start[row : row + 1])
        torch.testing.assert_close(together.state[row], alone.state[0], rtol=0, atol=0)
        assert together.evaluations[row] == alone.evaluations[0]
    decay = (-stiff * 1.5).exp()[:, None] * start
    torch.testing.assert_close(together.state[:, :2], decay, rtol=0, atol=1e-5)
    assert together.evaluations.unique().numel() > 1  # they did take different steps


def test_a_rejected_step_is_repeated_at_a_shorter_length(start):
    """The first step of the whole span is too long; the tolerance is met all the same."""
    end = run(start, AdaptiveSteps(1e-7, first_step=1.4))
    assert (end.evaluations > 13).all()
    assert ((end.state - exact(start, 0.0, 1.4)).norm(dim=1) < 1e-6).all()


def test_lengths_follow_the_fifth_root_of_the_error():
    accepted, ratio = AdaptiveSteps(1e-3).judge(torch.tensor([32e-3, 1e-3, 1e-3 / 32, 0.0, 1e6]))
    assert accepted.tolist() == [False, True, True, True, False]
    torch.testing.assert_close(ratio, torch.tensor([0.45, 0.9, 1.8, 5.0, 0.2]))


def test_refusals(start):
    with pytest.raises(ValueError, match="at least 1"):
        run(start, 0)
    with pytest.raises(RuntimeError, match="not finite"):
        run(start, AdaptiveSteps(1e-3), field=lambda u, s: s * torch.nan)
    with pytest.raises(RuntimeError, match="too rough"):
        run(start, AdaptiveSteps(1e-300), field=lambda u, s: (99 * u[:, None]).sin().expand_as(s))
