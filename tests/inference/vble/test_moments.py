"""Running moments are those of all draws at once."""

import pytest
import torch

from course_lib.inference.vble.moments import RunningMoments
from course_lib.rng import generator_from


@pytest.mark.parametrize("pieces", [[2], [1, 1], [1, 1, 1], [3, 1, 4], [7, 9, 1]])
def test_moments_in_pieces_are_those_at_once(pieces):
    """Standard deviation with n - 1 degrees of freedom: of two draws it is |a - b| / sqrt(2)."""
    draws = torch.randn(sum(pieces), 2, 3, generator=generator_from(0), dtype=torch.float64)
    running = RunningMoments()
    for piece in draws.split(pieces):
        running.add(piece)
    mean, std = running.moments()
    n = len(draws)
    torch.testing.assert_close(mean, draws.sum(0) / n, rtol=1e-13, atol=1e-14)
    variance = (draws - draws.sum(0) / n).square().sum(0) / (n - 1)
    torch.testing.assert_close(std, variance.sqrt(), rtol=1e-12, atol=0)


def test_small_deviations_from_a_large_mean_keep_their_digits():
    """In float32, values near 1 with deviations of 1e-3: a sum of squares would lose them."""
    draws = 1 + 1e-3 * torch.randn(64, 500, generator=generator_from(0))
    running = RunningMoments()
    for piece in draws.split(16):
        running.add(piece)
    exact = draws.double().std(0).float()
    # Each value carries a rounding error of 6e-8, which is 6e-5 of the deviations.
    torch.testing.assert_close(running.moments().std, exact, rtol=1e-3, atol=0)
