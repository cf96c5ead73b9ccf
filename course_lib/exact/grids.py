"""The posterior of one latent or two, by summation over a grid."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import MultivariateNormal


class GridPosterior(NamedTuple):
    """Latent and image given y, from a sum over a grid of latents.

    Attributes:
        z: the grid, (G, d).
        weights: p(z | y) at its points times the volume of a cell, (B, G); they sum to 1.
        log_evidence: log p(y), nats, (B,).
        z_mean, z_covariance: moments of z, (B, d) and (B, d, d).
        x_mean, x_covariance: moments of x, (B, n) and (B, n, n).
    """

    z: Float[Tensor, "g d"]
    weights: Float[Tensor, "b g"]
    log_evidence: Float[Tensor, " b"]
    z_mean: Float[Tensor, "b d"]
    z_covariance: Float[Tensor, "b d d"]
    x_mean: Float[Tensor, "b n"]
    x_covariance: Float[Tensor, "b n n"]


def grid_posterior(
    decode: Callable[[Tensor], tuple[Tensor, Tensor]],
    A: Float[Tensor, "m n"],
    y: Float[Tensor, "b m"],
    *,
    sigma: float,
    latent_dim: int = 1,
    points: int = 401,
    radius: float = 10.0,
) -> GridPosterior:
    """p(z, x | y) of any decoder with one latent or two and few pixels, by summation.

    For z ~ N(0, I), x given z ~ N(G(z), C(z)) and y = A x + noise, the evidence
    p(y | z) = N(y; A G(z), A C(z) A^T + sigma^2 I) is known at each z, and so is the Gaussian of
    x given z and y: the posterior is a mixture of those, one for each point of a grid. Sums
    over equal steps of a smooth function that fades at both ends converge faster than any power
    of the step.

    Args:
        decode: latents (G, d) to means (G, n) and covariances (G, n, n) of x; the covariance may
            be zero, for x = G(z).
        A: matrix of the measurement.
        y: measurements.
        sigma: standard deviation of the noise.
        latent_dim: d, 1 or 2: the grid has points^d cells.
        points: number of points of each axis, odd.
        radius: half the width of the grid, which spans [-radius, radius] on each axis.

    Raises:
        ValueError: sigma <= 0, another d, an even number of points, or a grid so coarse that
            leaving out every other point changes log p(y) by 0.001 nats; with all the points the
            error is far smaller than that.

    Source: Trefethen & Weideman 2014, doi:10.1137/130932132, for the speed.
    """
    if not sigma > 0:
        raise ValueError(f"grid_posterior: sigma must be positive, got {sigma}.")
    if latent_dim not in (1, 2) or points < 3 or points % 2 == 0:
        raise ValueError(
            "grid_posterior: expected latent_dim 1 or 2 and an odd number of points, got "
            f"{latent_dim} and {points}."
        )
    axis = torch.linspace(-radius, radius, points, dtype=y.dtype)
    z = torch.cartesian_prod(*[axis] * latent_dim).view(-1, latent_dim)
    every_other = torch.cartesian_prod(*[torch.arange(points) % 2] * latent_dim).view(z.shape) == 0

    mean, C = decode(z)
    S = A @ C @ A.T + sigma**2 * torch.eye(len(A), dtype=y.dtype)
    evidence = MultivariateNormal(mean @ A.T, S)
    log_prior = -z.square().sum(1) / 2 - latent_dim / 2 * math.log(2 * math.pi)
    log_cell = latent_dim * math.log(2 * radius / (points - 1))
    log_joint = evidence.log_prob(y[:, None]) + log_prior + log_cell
    log_evidence = log_joint.logsumexp(1)
    coarse = log_joint[:, every_other.all(1)].logsumexp(1) + latent_dim * math.log(2)
    error = (coarse - log_evidence).abs().max().item()
    if not error < 1e-3:
        raise ValueError(
            f"grid_posterior: with every other point log p(y) changes by {error:.2g} nats. The "
            f"posterior is too narrow for steps of {axis[1] - axis[0]:.2g}; take more points."
        )

    weights = log_joint.softmax(1)
    K = torch.linalg.solve(S, A @ C).mT  # x given z and y: N(D + K (y - A D), C - K A C)
    x = mean + ((y[:, None] - mean @ A.T)[:, :, None] @ K.mT).squeeze(2)
    z_mean, z_covariance = _moments(weights, z.expand(len(y), -1, -1))
    x_mean, x_covariance = _moments(weights, x)
    within = torch.einsum("bg,gij->bij", weights, C - K @ A @ C)
    return GridPosterior(
        z, weights, log_evidence, z_mean, z_covariance, x_mean, x_covariance + within
    )


def _moments(
    weights: Float[Tensor, "b g"], values: Float[Tensor, "b g n"]
) -> tuple[Tensor, Tensor]:
    """Mean and covariance of weighted points."""
    mean = (weights[:, :, None] * values).sum(1)
    away = values - mean[:, None]
    return mean, (weights[:, :, None] * away).mT @ away
