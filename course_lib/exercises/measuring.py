"""Exercises on measuring: images of equal error, coverage, a proper score."""

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.property_check import normal, property_check
from course_lib.rng import generator_from


@property_check(
    "equal error",
    "PSNR = 20 log10(1 / rmse): which rmse belongs to the level?",
    "the rmse of x + t d is t times the rms of d; solve for t.",
)
def check_equal_error(at_level: Callable[[Tensor, Tensor, float], Tensor]) -> tuple[bool, str]:
    """at_level(x, d, level) has this PSNR (dB), and lies on the ray from x along d."""
    generator = generator_from(0)
    x, d = (normal(generator, 1, 1, 15, 12) for _ in range(2))
    gaps, slopes = [], []
    for level in (10.0, 22.0, 31.5):
        step = at_level(x, d, level) - x
        gaps.append(abs(-10 * step.square().mean().log10().item() - level))
        slopes.append(((step * d).sum() / (step.norm() * d.norm())).item())
    found = f"PSNR is off by at most {max(gaps):.0e} dB, cosine with d {min(slopes):.3f}"
    return max(gaps) <= 1e-9 and min(slopes) >= 1 - 1e-12, found


@property_check(
    "coverage",
    "the samples' mean and the interval come from the same samples: both corrections are needed.",
    "sort |x_s - mean| over s, take entry number ceil(alpha (S + 1)) counted from 1, and multiply "
    "by sqrt((S + 1) / (S - 1)).",
)
def check_coverage(coverage: Callable[[Tensor, Tensor, float], float]) -> tuple[bool, str]:
    """coverage(samples (S, n), truth (n,), alpha) is alpha for a perfect posterior with S = 20."""
    draws = normal(generator_from(0), 21, 200_000)
    found = {alpha: float(coverage(draws[1:], draws[0], alpha)) for alpha in (0.5, 0.8, 0.9)}
    # 200000 pixels: standard error 0.001. The rank is a whole number, hence up to 1 / 21 more.
    passed = all(alpha - 0.01 <= value <= alpha + 0.06 for alpha, value in found.items())
    # Samples -2, ..., 2 for every pixel: the rank is 3, the half width sqrt(6 / 4).
    five = torch.arange(-2.0, 3).double()[:, None].expand(5, 80_001)
    uniform = torch.linspace(-4, 4, 80_001).double()
    passed &= abs(float(coverage(five, uniform, 0.5)) - 1.5**0.5 / 4) <= 1e-3
    values = ", ".join(f"{value:.3f} for {alpha}" for alpha, value in found.items())
    return passed, f"a perfect posterior with 20 samples is covered {values}"


@property_check(
    "energy score",
    "two terms: closeness to the truth, minus half the mean distance of two different samples.",
    "the second sum runs over s != s', S (S - 1) ordered pairs; it carries the factor 1/2.",
)
def check_energy_score(score: Callable[[Tensor, Tensor], float]) -> tuple[bool, str]:
    """True samples score better than shifted, narrow and wide ones, on average."""
    draws = normal(generator_from(0), 300, 9, 6)
    forecasts = {
        "true": draws[:, 1:],
        "shifted": draws[:, 1:] + 0.5,
        "narrow": 0.4 * draws[:, 1:],
        "wide": 1.8 * draws[:, 1:],
    }
    means = {
        name: sum(map(float, map(score, samples, draws[:, 0]))) / len(draws)
        for name, samples in forecasts.items()
    }
    # Without samples that differ, the score is the distance: 6 coordinates, the first one 1 off.
    exact = float(score(torch.zeros(4, 6).double(), torch.eye(6)[0].double()))
    # Two samples, 2 apart, the truth on one of them: (0 + 2) / 2 - 2 / 2 = 0.
    pair = torch.tensor([[0.0], [2.0]]).double()
    exact -= float(score(pair, pair[0]))
    best = min(means, key=lambda name: means[name])
    values = ", ".join(f"{name} {value:.2f}" for name, value in means.items())
    return best == "true" and abs(exact - 1) <= 1e-12, f"mean scores: {values}"
