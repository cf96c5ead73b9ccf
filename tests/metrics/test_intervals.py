"""Intervals against their defining equations."""

import math

import pytest
import torch

from course_lib.metrics import mean_half_width, proportion_interval
from course_lib.rng import generator_from


def test_half_width_of_two_values():
    """std of (0, 2) is sqrt(2): 1.96 sqrt(2) / sqrt(2)."""
    assert mean_half_width(torch.tensor([0.0, 2.0])) == pytest.approx(1.96)


def test_intervals_of_means_cover():
    """The mean 0 lies inside for 95 % of 4000 samples of 100, up to four standard errors."""
    x = torch.randn(4000, 100, generator=generator_from(0), dtype=torch.float64)
    inside = [abs(row.mean().item()) <= mean_half_width(row) for row in x]
    # Student's quantile for 99 degrees is 1.984: 1.96 covers 94.7 %.
    assert abs(sum(inside) / 4000 - 0.947) < 4 * math.sqrt(0.05 * 0.95 / 4000)


def test_interval_of_a_proportion():
    """All of 100: the lower end solves p^100 = 0.025."""
    low, high = proportion_interval(100, 100)
    assert low == pytest.approx(0.025 ** (1 / 100), rel=1e-9)
    assert high == 1
    assert proportion_interval(0, 10)[0] == 0


def test_ends_of_the_interval_solve_their_equations():
    """P(at least 3 of 10 | low) = P(at most 3 of 10 | high) = 0.025."""
    low, high = proportion_interval(3, 10)
    chance = lambda k, p: math.comb(10, k) * p**k * (1 - p) ** (10 - k)  # noqa: E731
    assert sum(chance(k, low) for k in range(3, 11)) == pytest.approx(0.025)
    assert sum(chance(k, high) for k in range(4)) == pytest.approx(0.025)
