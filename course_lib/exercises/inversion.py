"""Exercises on inversion: a linear model, the noise that z must bear, two weights."""

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.property_check import (
    WrongAnswer,
    expect_shape,
    normal,
    property_check,
    uniform,
)
from course_lib.rng import generator_from


@property_check(
    "nearest image of a model",
    "what varies is the latent: minimise |A (c + W z) - y| over z, a small least-squares problem.",
    "z = (A W)^+ (y - A c), then x = c + W z; the pseudo-inverse of A alone knows nothing of W.",
)
def check_nearest_in_model(
    nearest: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
) -> tuple[bool, str]:
    """nearest(A (m, n), W (n, k), c (n,), y (m,)) minimises |A x - y| over x = c + W z."""
    generator = generator_from(0)
    A, W, c, y = (normal(generator, *shape) for shape in ((9, 20), (20, 4), (20,), (9,)))
    x = nearest(A, W, c, y)
    expect_shape(x, c.shape)
    outside = (x - c) - W @ torch.linalg.lstsq(W, (x - c)[:, None]).solution[:, 0]
    slope = (A @ W).T @ (A @ x - y)
    finding = f"distance {outside.norm():.0e} from the model, slope {slope.norm():.0e} within it"
    return max(outside.norm().item(), slope.norm().item()) <= 1e-8, finding


@property_check(
    "the best discriminator",
    "the sum over x falls apart: for each x on its own, maximise a log c + b log(1 - c) over c.",
    "its derivative a / c - b / (1 - c) vanishes where c is the share of a in a + b.",
)
def check_best_discriminator(
    best: Callable[[Tensor, Tensor], Tensor],
) -> tuple[bool, str]:
    """best(p (n,), p_G (n,)) maximises sum p log C + p_G log(1 - C)."""
    generator = generator_from(0)
    gaps = []
    for n in (6, 11):
        p, drawn = (uniform(generator, n) + 0.05 for _ in range(2))
        p, drawn = p / p.sum(), drawn / drawn.sum()
        c = best(p, drawn)
        expect_shape(c, p.shape)
        if not ((c > 0) & (c < 1)).all():
            raise WrongAnswer("some of your values are not between 0 and 1")
        gaps.append((p / c - drawn / (1 - c)).abs().max().item())
    return max(gaps) <= 1e-5, f"slope {max(gaps):.0e} at your discriminator"


@property_check(
    "noise that z must bear",
    "y - A G(z) is a sum of two independent terms, A (x - G(z)) and the noise of the sensor.",
    "their variances add: sigma^2 + std^2 |A|_F^2 / m, averaged over the m measurements; then the "
    "square root.",
)
def check_effective_noise(
    effective_noise: Callable[[Tensor, float, float], float],
) -> tuple[bool, str]:
    """effective_noise(A (m, n), sigma, std) is the rms of A e + w, with e of std and w of sigma."""
    generator = generator_from(0)
    gaps = []
    for m, n, sigma, std in ((6, 30, 0.2, 0.1), (30, 6, 0.05, 0.3)):
        A = normal(generator, m, n) / m**0.5
        e = std * normal(generator, n, 40_000)
        w = sigma * normal(generator, m, 40_000)
        drawn = (A @ e + w).square().mean().sqrt().item()
        gaps.append(abs(float(effective_noise(A, sigma, std)) / drawn - 1))
    # 240,000 squares or more, of which 6 x 40,000 independent: 0.2% standard error.
    return max(gaps) <= 0.01, f"within {100 * max(gaps):.1f}% of 40000 draws"


@property_check(
    "weight of the prior",
    "multiply mean(r^2) + lam |z|^2 by a number that turns its first term into |r|^2/(2 sigma^2).",
    "that number is m / (2 sigma^2); what it makes of lam |z|^2 must be w / 2 |z|^2.",
)
def check_latent_weight(weight: Callable[[float, int, float], float]) -> tuple[bool, str]:
    """weight(lam, m, sigma) is the w with which both objectives have the same minimisers."""
    generator = generator_from(0)
    gaps = []
    for lam, m, sigma in ((0.1, 12, 0.3), (1e-3, 40, 0.05)):
        A = normal(generator, m, 5)
        y = normal(generator, m)
        eye = torch.eye(5, dtype=torch.float64)
        mean = torch.linalg.solve(A.T @ A / m + lam * eye, A.T @ y / m)
        found = float(weight(lam, m, sigma))
        bayes = torch.linalg.solve(A.T @ A / sigma**2 + found * eye, A.T @ y / sigma**2)
        gaps.append((mean - bayes).norm().item() / mean.norm().item())
    return max(gaps) <= 1e-10, f"the two minimisers differ by {max(gaps):.0e}"


@property_check(
    "the x-step",
    "for a mask the problem falls apart into one parabola for each pixel.",
    "seen pixels: the mean of y and G(z), weighted by 1 / sigma^2 and 1 / std^2; unseen: G(z).",
)
def check_x_step(
    x_step: Callable[[Tensor, Tensor, Tensor, float, float], Tensor],
) -> tuple[bool, str]:
    """x_step(y, mask, generated, sigma, std) minimises J over the image, for inpainting."""
    generator = generator_from(0)
    y, generated = (uniform(generator, 1, 1, 6, 5) for _ in range(2))
    mask = (torch.rand(1, 1, 6, 5, generator=generator) < 0.5).double()
    worst = 0.0
    for sigma, std in ((0.1, 0.3), (0.5, 0.05)):
        x = x_step(mask * y, mask, generated, sigma, std)
        expect_shape(x, y.shape)
        slope = mask * (x - y) / sigma**2 + (x - generated) / std**2
        worst = max(worst, slope.abs().max().item())
    return worst <= 1e-8, f"the gradient of J over x is {worst:.0e}"
