"""Exercises on variational Bayes: a log density, a divergence, the mean field."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from course_lib.exercises.property_check import expect_shape, normal, property_check, uniform
from course_lib.rng import generator_from


@property_check(
    "log density",
    "det(L L^T) is the square of det L, and L is triangular: a product of n numbers.",
    "r^T L L^T r = |L^T r|^2, and n/2 log(2 pi) is part of the density.",
)
def check_log_density(log_density: Callable[[Tensor, Tensor], Tensor]) -> tuple[bool, str]:
    """log_density(L (n, n), r (n,)) is log N(r; 0, (L L^T)^-1), nats."""
    generator = generator_from(0)
    L = normal(generator, 7, 7).tril(-1)
    L = L + torch.diag(1 + uniform(generator, 7))
    r = normal(generator, 7)
    exact = MultivariateNormal(torch.zeros_like(r), precision_matrix=L @ L.T)
    gap = abs(float(log_density(L, r)) - exact.log_prob(r).item())
    return gap <= 1e-9, f"off by {gap:.0e} nats"


@property_check(
    "divergence of the scales",
    "1/2 (tr(S_p^-1 S_q) - n + log det S_p - log det S_q): what is left of L in each term?",
    "each pixel costs 1/2 (b^2 - 1 - 2 log b), and nothing at b = 1.",
)
def check_image_divergence(divergence: Callable[[Tensor], Tensor]) -> tuple[bool, str]:
    """divergence(b (n,)) is KL(N(0, L^-T diag(b^2) L^-1) || N(0, L^-T L^-1)) for every L."""
    generator = generator_from(0)
    b = 0.2 + uniform(generator, 6)
    L = normal(generator, 6, 6).tril(-1)
    root = torch.linalg.inv(L + 2 * torch.eye(6, dtype=torch.float64)).T
    q, p = (
        MultivariateNormal(torch.zeros_like(b), (root * scale) @ (root * scale).T)
        for scale in (b, torch.ones_like(b))
    )
    gap = abs(float(divergence(b)) - kl_divergence(q, p).item())
    return gap <= 1e-9, f"off by {gap:.0e} nats"


@property_check(
    "mean-field deviation",
    "the divergence is least where the gradient with respect to each a_j vanishes; it has "
    "a_j^2 Lambda_jj / 2 - log a_j.",
    "an inverse of the diagonal, not the diagonal of an inverse.",
)
def check_mean_field_scale(scale: Callable[[Tensor], Tensor]) -> tuple[bool, str]:
    """scale(Lambda (n, n)) minimises KL(N(0, diag a^2) || N(0, Lambda^-1)) over a."""
    root = normal(generator_from(0), 5, 5)
    precision = root @ root.T + 0.1 * torch.eye(5, dtype=torch.float64)
    a = scale(precision).double()
    expect_shape(a, (5,))
    if not (a > 0).all():
        return False, f"a deviation is positive; the least of yours is {a.min():.2f}"
    slope = a.square() * precision.diagonal() - 1  # derivative of the divergence in log a
    exact = torch.linalg.inv(precision).diagonal().sqrt()
    finding = (
        f"slope {slope.abs().max():.0e}; the exact deviations are up to {(exact / a).max():.1f} "
        "times larger"
    )
    return slope.abs().max().item() <= 1e-5, finding  # a numerical minimiser is welcome
