"""Brute force over a world against odds that can be written down."""

import pytest
import torch

from course_lib.exact import label_posterior
from course_lib.operators import Denoising
from course_lib.rng import generator_from, normal_like

IMG = (1, 1, 2)


def two_clouds(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images N(mu_c, 0.2^2 I) for labels c = 0, 1, 2, where label 2 never occurs."""
    label = torch.arange(n) % 2
    x = 0.2 * normal_like(torch.empty(n, *IMG, dtype=torch.float64), generator_from(0))
    return x + label.view(-1, 1, 1, 1), label


def test_against_the_closed_form():
    """y given c is N(mu_c, (0.04 + sigma^2) I), so log odds are a difference of squares."""
    x, label = two_clouds(40_000)
    y = torch.tensor([[[[0.4, 0.5]]], [[[0.9, 0.2]]]], dtype=torch.float64)
    sigma = 0.3
    found = label_posterior(Denoising(IMG), y, x, label, sigma=sigma, classes=3)
    distance = torch.stack([(y - c).square().sum((1, 2, 3)) for c in (0.0, 1.0)], 1)
    exact = (-distance / (2 * (0.04 + sigma**2))).softmax(1)
    # The standard error is below sqrt(p q / effective draws) with at least 5000 of those: 0.007.
    assert found.effective_draws.min() > 5000
    torch.testing.assert_close(found.probabilities[:, :2], exact, rtol=0, atol=0.02)
    assert torch.equal(found.probabilities[:, 2], torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(2, dtype=torch.float64))


def test_batches_and_single_measurements_change_nothing():
    x, label = two_clouds(500)
    y = x[:3] + 0.1
    op = Denoising(IMG)
    whole = label_posterior(op, y, x, label, sigma=0.2, classes=2)
    parts = label_posterior(op, y, x, label, sigma=0.2, classes=2, batch=7)
    torch.testing.assert_close(whole.probabilities, parts.probabilities)
    one = label_posterior(op, y[1:2], x, label, sigma=0.2, classes=2)
    torch.testing.assert_close(one.probabilities, whole.probabilities[1:2])


def test_effective_draws_of_equal_weights():
    """All images equal: every weight is 1 / n, and all n draws count."""
    x = torch.zeros(50, *IMG)
    found = label_posterior(
        Denoising(IMG), x[:1] + 1, x, torch.arange(50) % 5, sigma=0.1, classes=5
    )
    torch.testing.assert_close(found.effective_draws, torch.tensor([50.0]))
    torch.testing.assert_close(found.probabilities, torch.full((1, 5), 0.2))


def test_bad_input():
    x, label = two_clouds(10)
    with pytest.raises(ValueError, match=r"a label for each image, got 9 for 10"):
        label_posterior(Denoising(IMG), x, x, label[:9], sigma=0.1, classes=2)
    with pytest.raises(ValueError, match=r"sigma must be positive, got 0"):
        label_posterior(Denoising(IMG), x, x, label, sigma=0.0, classes=2)
