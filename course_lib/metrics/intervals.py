"""95 % intervals for stored numbers: of a mean over images, and of a proportion."""

import math

from jaxtyping import Float
from scipy.stats import beta
from torch import Tensor


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
