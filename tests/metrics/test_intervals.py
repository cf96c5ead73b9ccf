"""Intervals against their defining equations."""

import math

import pytest
import torch

from course_lib.metrics import bootstrap_by_group, mean_half_width, proportion_interval
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


def test_two_groups_are_drawn_again_in_closed_form():
    """Of groups with means 0 and 1, both or either alone: the means 0, 1/2, 1."""
    values, groups = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([7, 7, 3, 3])
    interval = bootstrap_by_group(values, groups, generator=generator_from(0))
    assert interval == (0.0, 1.0)
    inner = bootstrap_by_group(values, groups, generator=generator_from(0), level=0.3)
    assert inner == (0.5, 0.5)  # the middle half of the draws has both groups


def test_groups_of_unequal_size_weigh_by_their_values():
    values, groups = torch.tensor([0.0, 0.0, 0.0, 1.0]), torch.tensor([0, 0, 0, 1])
    interval = bootstrap_by_group(values, groups, generator=generator_from(0), level=0.3)
    assert interval == (0.25, 0.25)  # both groups: the mean of all four


def test_crops_of_one_photograph_count_once():
    """The same number twenty times in each of 50 groups: the interval of 50 numbers, not 1000."""
    x = torch.randn(50, generator=generator_from(1), dtype=torch.float64)
    groups = torch.arange(50).repeat(20)
    low, high = bootstrap_by_group(x.repeat(20), groups, generator=generator_from(2))
    # The bootstrap's own error with 4000 draws: about 3 % of the half width; its normal
    # approximation for 50 values: about as much again.
    assert (high - low) / 2 == pytest.approx(mean_half_width(x), rel=0.12)
    low, high = bootstrap_by_group(
        x.repeat(20), torch.arange(1000), generator=generator_from(2), n_draws=500
    )
    assert (high - low) / 2 < 0.3 * mean_half_width(x)  # as if they were independent: 1 / sqrt(20)


@pytest.mark.parametrize(
    ("values", "groups", "message"),
    [
        (torch.ones(3), torch.arange(2), r"got \(3,\) and \(2,\)"),
        (torch.ones(3), torch.zeros(3, dtype=torch.int64), "at least 2 groups, got 1"),
        (torch.ones(0), torch.ones(0, dtype=torch.int64), "at least 2 groups, got 0"),
    ],
)
def test_groups_that_give_no_interval(values, groups, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_by_group(values, groups, generator=generator_from(0))
