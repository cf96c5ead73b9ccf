"""Probabilities of labels on cases made by hand, and on truths drawn from them."""

import math

import torch

from course_lib.metrics import calibration_bins, label_frequencies, total_variation_distance
from course_lib.rng import generator_from


def test_calibration_by_hand():
    """Two cases of three characters: each share goes to its fifth, 0 to none."""
    p = torch.tensor([[0.75, 0.25, 0.0], [0.125, 0.125, 0.75]], dtype=torch.float64)
    truth = torch.tensor([0, 1])
    assert calibration_bins(p, truth) == [
        (0.125, 0.5, 2),  # two shares of 1/8, one of them true
        (0.25, 0.0, 1),
        (0.75, 0.5, 2),
    ]


def test_calibration_of_draws_that_are_right():
    """Truths drawn from p itself: what is stated happens, within four standard errors."""
    p = torch.distributions.Dirichlet(torch.full((5,), 0.5, dtype=torch.float64))
    torch.manual_seed(0)
    p = p.sample((20_000,))
    truth = torch.multinomial(p, 1, generator=generator_from(2))[:, 0]
    bins = calibration_bins(p, truth)
    assert len(bins) == 5
    assert sum(count for *_, count in bins) == (p > 0).sum()
    for stated, happened, count in bins:
        assert abs(stated - happened) < 4 * math.sqrt(stated * (1 - stated) / count) + 1e-3


def test_frequencies_and_distance_by_hand():
    """Four samples of two images: shares of each label, and half the sum of differences."""
    p = label_frequencies(torch.tensor([[0, 2], [0, 2], [1, 2], [0, 2]]), 3)
    assert p.tolist() == [[0.75, 0.25, 0], [0, 0, 1]]
    q = torch.tensor([[0.25, 0.25, 0.5], [0.0, 0.0, 1.0]]).double()
    assert total_variation_distance(p, q).tolist() == [0.5, 0]
    assert total_variation_distance(p[:1], p[1:]).tolist() == [1]
