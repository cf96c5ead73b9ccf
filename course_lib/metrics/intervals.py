"""95 % intervals for stored numbers: of a mean over images, and of a proportion."""

import math

import torch
from jaxtyping import Float, Int
from scipy.stats import beta
from torch import Tensor

from course_lib.rng import check_generator


def mean_half_width(values: Float[Tensor, " n"]) -> float:
    """Half the width of the 95 % interval for a mean, 1.96 std / sqrt(n), from n >= 2 values."""
    return 1.96 * values.std().item() / math.sqrt(len(values))


def proportion_interval(count: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval (low, high) for a proportion of which `count` in n were observed.

    Source: Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404.
    """
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else float(beta.ppf(tail, count, n - count + 1))
    high = 1.0 if count == n else float(beta.ppf(1 - tail, count + 1, n - count))
    return low, high


def bootstrap_by_group(
    values: Float[Tensor, " n"],
    groups: Int[Tensor, " m"],
    *,
    generator: torch.Generator,
    n_draws: int = 4000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval (low, high) for the mean of values of which those of one group are not independent.

    Several crops of one photograph are alike. Groups, not values, are drawn again with
    replacement, as many as there are; the interval holds the middle `level` of the means.

    Args:
        values: one number for each crop.
        groups: number of the photograph that a crop comes from.
        generator: source of the draws.
        n_draws: number of bootstrap samples.
        level: probability of the interval.

    Raises:
        ValueError: other shapes, or fewer than two groups.

    Source: Davison & Hinkley 1997, section 3.8, doi:10.1017/CBO9780511802843.
    """
    check_generator("bootstrap_by_group", generator)
    if values.shape != groups.shape:
        raise ValueError(
            "bootstrap_by_group: expected values and groups of one shape (n,), got "
            f"{tuple(values.shape)} and {tuple(groups.shape)}."
        )
    _, number = groups.unique(return_inverse=True)
    n = int(number.max()) + 1 if len(number) else 0
    if n < 2:
        raise ValueError(f"bootstrap_by_group: expected at least 2 groups, got {n}.")
    values = values.double()
    sums = values.new_zeros(n).index_add(0, number, values)
    sizes = values.new_zeros(n).index_add(0, number, torch.ones_like(values))
    drawn = torch.randint(n, (n_draws, n), generator=generator)
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    tail = (1 - level) / 2
    low, high = means.quantile(means.new_tensor([tail, 1 - tail])).tolist()
    return low, high
