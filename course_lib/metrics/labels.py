"""Probabilities of labels: how far two distributions are apart, and whether one is calibrated."""

from typing import NamedTuple

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import one_hot


class CalibrationBin(NamedTuple):
    """Mean stated probability of a bin, frequency with which it was true, number of cases."""

    stated: float
    happened: float
    count: int


def label_frequencies(
    labels: Int64[Tensor, "samples b"], classes: int
) -> Float[Tensor, "b classes"]:
    """Share of each label among the samples of an image."""
    return one_hot(labels, classes).double().mean(0)


def total_variation_distance(
    p: Float[Tensor, "b classes"], q: Float[Tensor, "b classes"]
) -> Float[Tensor, " b"]:
    """sum |p - q| / 2 of two distributions over labels: 0 if equal, 1 if disjoint."""
    return (p - q).abs().sum(1) / 2


def calibration_bins(
    p: Float[Tensor, "b classes"], truth: Int64[Tensor, " b"]
) -> list[CalibrationBin]:
    """Stated probabilities against frequencies, in fifths (0, 0.2], ..., (0.8, 1] with cases."""
    right = one_hot(truth, p.shape[1]).double()
    bins = []
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        inside = (p > low) & (p <= low + 0.2)
        if inside.any():
            stated, happened = p[inside].mean().item(), right[inside].mean().item()
            bins.append(CalibrationBin(stated, happened, int(inside.sum())))
    return bins
