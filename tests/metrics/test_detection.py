"""Precision and recall by counting, for every threshold."""

import pytest
import torch

from course_lib.metrics.detection import precision_recall
from course_lib.rng import generator_from


def test_every_threshold_is_counted():
    generator = generator_from(0)
    score = torch.randint(0, 6, (4, 5, 5), generator=generator).double() / 5  # with ties
    positive = torch.rand(4, 5, 5, generator=generator) < score
    found = precision_recall(score, positive)
    assert found.threshold.tolist() == sorted(set(score.flatten().tolist()), reverse=True)
    for threshold, precision, recall in zip(*found, strict=True):
        called = score >= threshold
        hits = (called & positive).sum()
        assert precision.item() == pytest.approx((hits / called.sum()).item(), rel=1e-6)
        assert recall.item() == pytest.approx((hits / positive.sum()).item(), rel=1e-6)


def test_average_precision_of_known_orders():
    positive = torch.tensor([1, 1, 0, 0, 0])
    best, worst = torch.tensor([5.0, 4, 3, 2, 1]), torch.tensor([1.0, 2, 3, 4, 5])
    assert precision_recall(best, positive).average_precision == 1
    # the two positives come fourth and fifth: (1/4 + 2/5) / 2
    assert precision_recall(worst, positive).average_precision == pytest.approx(0.325)
    flat = precision_recall(torch.ones(5), positive)
    assert flat.average_precision == pytest.approx(0.4)  # one threshold: the share of positives
    assert len(flat.threshold) == 1


@pytest.mark.parametrize(
    ("score", "positive"),
    [
        (torch.ones(3), torch.ones(4)),
        (torch.tensor([1.0, torch.nan]), torch.ones(2)),
        (torch.ones(3), torch.zeros(3)),
    ],
)
def test_refusals(score, positive):
    with pytest.raises(ValueError, match="expected finite scores and labels of one shape"):
        precision_recall(score, positive)
