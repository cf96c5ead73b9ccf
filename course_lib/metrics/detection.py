"""How well a map of probabilities finds what is there: precision, recall, and their trade."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class PrecisionRecall(NamedTuple):
    """Of what is called positive, how much is; of what is positive, how much is called so.

    Attributes:
        threshold: (k,), falling.
        precision: (k,).
        recall: (k,), rising.
    """

    threshold: Float[Tensor, "k"]
    precision: Float[Tensor, "k"]
    recall: Float[Tensor, "k"]

    @property
    def average_precision(self) -> float:
        """Sum of the precisions, each times the step of recall: 1 for a perfect order."""
        steps = self.recall.diff(prepend=self.recall.new_zeros(1))
        return (steps * self.precision).sum().item()


def precision_recall(score: Tensor, positive: Tensor) -> PrecisionRecall:
    """For every threshold that a score takes: what scores as high or higher is called positive.

    Args:
        score: any shape, the higher the more likely.
        positive: the same shape, 1 or True where it is so.

    Raises:
        ValueError: other shapes, scores that are not finite, or nothing that is positive.
    """
    if score.shape != positive.shape or not score.isfinite().all() or not positive.any():
        raise ValueError(
            "precision_recall: expected finite scores and labels of one shape with a positive one "
            f"among them, got {tuple(score.shape)} and {tuple(positive.shape)}."
        )
    order = score.flatten().argsort(descending=True)
    ranked, hits = score.flatten()[order], positive.flatten()[order].double().cumsum(0)
    last = torch.cat([ranked.diff() != 0, ranked.new_ones(1).bool()])  # of each group of equals
    called = torch.arange(1, len(ranked) + 1, dtype=torch.float64)
    return PrecisionRecall(ranked[last], (hits / called)[last], (hits / hits[-1])[last])
