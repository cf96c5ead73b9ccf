"""Scores of a set of posterior samples: spread, coverage, energy score.

Samples have the shape (S, B, C, H, W): S images for each of the B measurements; S images for one
measurement may come as (S, C, H, W). Every metric returns one value a measurement, (B,).
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.metrics.images import image_pair

Metric = Callable[[Tensor, Tensor], Tensor]  # (B, C, H, W) twice -> (B,)
LEVELS = tuple(level / 100 for level in range(5, 100, 5))


def average_pairwise_distance(
    samples: Tensor, distance: Metric | None = None
) -> Float[Tensor, "b"]:
    """Mean distance between two different samples of the same measurement: their diversity.

    sum_{i != j} d(x_i, x_j) / (S (S - 1)), the unbiased estimate. By default d is the mean square
    error, and the sum over pairs is twice the sample variance of each pixel: no pair is visited.
    Independent Gaussian samples of standard deviation s have the expectation 2 s^2.

    Args:
        samples: (S, B, C, H, W), or (S, C, H, W) for one measurement; S >= 2.
        distance: a symmetric metric of this package instead, for instance `lpips`.
    """
    samples = _samples("average_pairwise_distance", samples)
    if distance is None:
        return 2 * samples.var(0).flatten(1).mean(1)
    count = len(samples)
    total = samples.new_zeros(samples.shape[1])
    for i in range(1, count):  # one call compares sample i with all those before it
        others = samples[:i].flatten(0, 1)
        distances = distance(samples[i].repeat(i, 1, 1, 1), others)
        total = total + distances.unflatten(0, (i, -1)).sum(0)
    return 2 * total / (count * (count - 1))


def interval_coverage(
    samples: Tensor, truth: Tensor, alpha: float = 0.9, *, corrected: bool = False
) -> Float[Tensor, "b"]:
    """Fraction of the pixels whose truth lies in the interval that holds alpha of the samples.

    With m the mean of the samples, the interval is |u - m| <= q, where q is the alpha-quantile of
    |x_s - m| over s, pixel by pixel. This published form falls short of alpha even for samples
    from the true posterior, since m and q come from the same S samples: for alpha = 0.9 a perfect
    Gaussian posterior scores 0.844 with S = 20, 0.888 with S = 100. The corrected form takes the
    order statistic of rank ceil(alpha (S + 1)) and widens it by sqrt((S + 1) / (S - 1)), the ratio
    between the spread of truth - m and of x_s - m: 0.901 with S = 100.

    Args:
        samples: (S, B, C, H, W), or (S, C, H, W) for one measurement; S >= 2.
        truth: (B, C, H, W).
        alpha: the wanted probability, in (0, 1).
        corrected: remove the finite-sample bias.

    Raises:
        ValueError: alpha outside (0, 1), or the corrected form with S < alpha / (1 - alpha).
    """
    return coverage_curve(samples, truth, (alpha,), corrected=corrected)[0]


def coverage_curve(
    samples: Tensor, truth: Tensor, alphas: Sequence[float] = LEVELS, *, corrected: bool = False
) -> Float[Tensor, "levels b"]:
    """`interval_coverage` for each level, (A, B): on the diagonal if the posterior is calibrated.

    By default the levels are 0.05, 0.10, ..., 0.95.
    """
    samples, truth = _samples_and_truth("interval_coverage", samples, truth)
    mean = samples.mean(0)
    deviations = (samples - mean).abs().sort(0).values
    error = (truth - mean).abs()
    inside = [error <= _half_width(deviations, alpha, corrected) for alpha in alphas]
    return torch.stack([i.to(error.dtype).flatten(1).mean(1) for i in inside])


def energy_score(samples: Tensor, truth: Tensor) -> Float[Tensor, "b"]:
    """mean |x_s - u| - 1/2 mean_{s != t} |x_s - x_t|, in intensities: the lower the better.

    |.| is the root mean square over channels and pixels. The score is proper: on average no
    samples beat those of the true posterior. The second mean is over different samples, which
    makes the score unbiased whatever S; a single score may be negative.

    Args:
        samples: (S, B, C, H, W), or (S, C, H, W) for one measurement; S >= 2.
        truth: (B, C, H, W).

    Source: Gneiting & Raftery 2007, doi:10.1198/016214506000001437, section 4.2.
    """
    samples, truth = _samples_and_truth("energy_score", samples, truth)
    x, u = samples.flatten(2).transpose(0, 1), truth.flatten(1).unsqueeze(1)  # (B, S or 1, n)
    count, scale = x.shape[1], math.sqrt(x.shape[2])
    mode = "donot_use_mm_for_euclid_dist"  # the fast form cancels digits
    to_truth = torch.cdist(x, u, compute_mode=mode).mean((1, 2))
    between = torch.cdist(x, x, compute_mode=mode).sum((1, 2)) / (count * (count - 1))
    return (to_truth - between / 2) / scale


def _half_width(deviations: Tensor, alpha: float, corrected: bool) -> Tensor:
    """Half the width of each pixel's interval, from deviations sorted over the samples."""
    if not 0 < alpha < 1:
        raise ValueError(f"interval_coverage: alpha must lie in (0, 1), got {alpha}.")
    count = len(deviations)
    if not corrected:
        position = alpha * (count - 1)
        below = int(position)
        return torch.lerp(deviations[below], deviations[below + 1], position - below)
    rank = math.ceil(alpha * (count + 1) - 1e-9)  # 0.55 * 20 is a little more than 11
    if rank > count:
        raise ValueError(
            f"interval_coverage: {count} samples cannot bound a probability of {alpha} once "
            f"corrected; take at least {math.ceil(alpha / (1 - alpha) - 1e-9)}."
        )
    return deviations[rank - 1] * math.sqrt((count + 1) / (count - 1))


def _samples_and_truth(name: str, samples: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    samples = _samples(name, samples)
    return samples, image_pair(name, samples[0], truth)[1]


def _samples(name: str, samples: Tensor) -> Float[Tensor, "s b c h w"]:
    if not samples.is_floating_point():
        raise TypeError(f"{name}: expected floating-point samples, got {samples.dtype}.")
    if samples.ndim not in (4, 5):
        raise ValueError(
            f"{name}: expected samples of shape (S, B, C, H, W), or (S, C, H, W) for one "
            f"measurement, got {tuple(samples.shape)}."
        )
    if len(samples) < 2:
        raise ValueError(f"{name}: expected at least 2 samples, got {len(samples)}.")
    return samples if samples.ndim == 5 else samples.unsqueeze(1)
