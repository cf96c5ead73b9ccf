"""Exercises on diverse super-resolution: divergence of a group, logistic bins, a projection."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from course_lib.exercises.property_check import expect_shape, normal, property_check
from course_lib.protocols import ImageMap
from course_lib.rng import generator_from


@property_check(
    "the price of a group",
    "for one number: log(s_p / s_q) + (s_q^2 + (m_q - m_p)^2) / (2 s_p^2) - 1/2.",
    "sum over all latents of an image: flatten(1).sum(1); the order of q and p matters.",
)
def check_group_price(
    price: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
) -> tuple[bool, str]:
    """price(m_q, log_s_q, m_p, log_s_p) is KL(q || p) of diagonal Gaussians, nats an image."""
    generator = generator_from(0)
    m_q, m_p = normal(generator, 2, 2, 3, 2, 2)
    l_q, l_p = 0.3 * normal(generator, 2, 2, 3, 2, 2)
    found = price(m_q, l_q, m_p, l_p)
    expect_shape(found, (2,))
    q, p = Normal(m_q, l_q.exp()), Normal(m_p, l_p.exp())
    exact = kl_divergence(q, p).flatten(1).sum(1)
    gap = (found - exact).abs().max().item()
    return gap <= 1e-10, f"within {gap:.0e} nats of torch's own divergence"


@property_check(
    "bins of a logistic distribution",
    "a bin's probability is a difference of two sigmoids, of (end - mean) / scale.",
    "the bins are as wide as levels are apart; the first and the last reach to infinity.",
)
def check_bins(bins: Callable[[float, float, int], Tensor]) -> tuple[bool, str]:
    """bins(mean, scale, levels) are the probabilities of `levels` evenly spaced ones on [-1, 1]."""
    worst = 0.0
    for mean, scale, n in ((0.2, 0.3, 4), (-1.2, 0.05, 8), (0.9, 0.02, 32)):
        found = bins(mean, scale, n)
        expect_shape(found, (n,))
        inner = -1 + (2 * torch.arange(n - 1, dtype=torch.float64) + 1) / (n - 1)
        upto = torch.sigmoid((inner - mean) / scale)
        exact = torch.diff(upto, prepend=torch.zeros(1).double(), append=torch.ones(1).double())
        worst = max(worst, (found - exact).abs().max().item())
    return worst <= 1e-6, f"within {worst:.0e} of the exact probabilities, which sum to 1"


@property_check(
    "the projection",
    "only A^+ turns a difference of measurements into a change of images.",
    "subtract the image whose measurement is the residual A x - y.",
)
def check_projection(
    project: Callable[[Tensor, Tensor, ImageMap, ImageMap], Tensor],
) -> tuple[bool, str]:
    """project(x, y, A, A_dagger) is the nearest image to x that is measured as y."""
    generator = generator_from(0)
    matrix, x, truth = (normal(generator, *shape) for shape in ((4, 12), (5, 12), (5, 12)))
    inverse = torch.linalg.pinv(matrix)
    y = truth @ matrix.T
    found = project(x, y, lambda u: u @ matrix.T, lambda v: v @ inverse.T)
    expect_shape(found, x.shape)
    residual = (found @ matrix.T - y).abs().max().item()
    if residual > 1e-9:
        return False, f"its measurement is {residual:.0e} away from y"
    moved, left, start = (d.square().sum(1) for d in (found - x, found - truth, x - truth))
    gap = (start - moved - left).abs().max().item()
    return gap <= 1e-9, f"consistent, and Pythagoras holds within {gap:.0e}"
