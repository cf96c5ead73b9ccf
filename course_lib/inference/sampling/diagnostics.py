"""Convergence of several Markov chains, and the number of independent samples they are worth.

Samples have the shape (S, R, ...): S samples of each of R chains, of any number of quantities. Each
chain is cut into halves, so that one that is still on its way disagrees with itself.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def split_r_hat(samples: Float[Tensor, "s r ..."]) -> Tensor:
    """R-hat of each quantity: spread of all samples over spread within a chain; 1 if they agree.

    With W the mean variance within the 2 R halves of n samples, and B the variance of their means,
    R-hat = sqrt(((n - 1) / n W + B) / W). Below 1.05 or 1.01 the chains are said to have mixed;
    an R-hat near 1 is no proof, since a region that no chain has found is not missed. Chains that
    stand still have R-hat infinite, or NaN if all stand on one spot.

    Raises:
        ValueError: fewer than 4 samples.

    Source: Gelman et al., "Bayesian Data Analysis", 3rd edition, section 11.4.
    """
    within, total = _variances(_halves("split_r_hat", samples))
    return (total / within).sqrt()


def effective_sample_size(samples: Float[Tensor, "s r ..."]) -> Tensor:
    """Number of independent samples whose mean would be as precise as that of all S R samples.

    S R / (1 + 2 sum of rho_t) with rho_t the autocorrelation at lag t, from all chains together:
    chains that disagree are correlated. The noisy sum ends where a pair rho_2k + rho_2k+1 is no
    longer positive, and pairs are not allowed to rise. Samples that alternate about the mean are
    worth more than independent ones; at most log10(S R) times as much is believed. NaN if no sample
    differs from another.

    Raises:
        ValueError: fewer than 4 samples.

    Source: Vehtari et al. 2021, doi:10.1214/20-BA1221, section 3.2; for the pairs, Geyer 1992,
    doi:10.1214/ss/1177011137.
    """
    halves = _halves("effective_sample_size", samples)
    within, total = _variances(halves)
    n, count = len(halves), halves.shape[0] * halves.shape[1]
    covariance = _autocovariance(halves).mean(1) * n / (n - 1)
    rho = 1 - (within - covariance) / total
    pairs = rho[: n // 2 * 2].unflatten(0, (-1, 2)).sum(1)
    positive = (pairs > 0).cumprod(0)
    tau = 2 * (pairs.cummin(0).values * positive).sum(0) - 1
    return count / tau.clamp(min=1 / math.log10(count))


def _halves(name: str, samples: Tensor) -> Float[Tensor, "n m ..."]:
    if samples.ndim < 2 or len(samples) < 4:
        raise ValueError(
            f"{name}: expected samples of shape (S, R, ...) with S >= 4 samples of R chains, got "
            f"{tuple(samples.shape)}."
        )
    n = len(samples) // 2
    return torch.cat([samples[:n], samples[-n:]], dim=1).double()


def _variances(halves: Tensor) -> tuple[Tensor, Tensor]:
    """W, and the estimate (n - 1) / n W + B of the variance of the target."""
    n = len(halves)
    within = halves.var(0).mean(0)
    return within, (n - 1) / n * within + halves.mean(0).var(0)


def _autocovariance(x: Tensor) -> Tensor:
    """sum_i (x_i - m) (x_{i+t} - m) / n along the first axis, t = 0 to n - 1, by two FFTs."""
    n = len(x)
    spectrum = torch.fft.rfft(x - x.mean(0), n=2 * n, dim=0)  # zeros keep the ends apart
    return torch.fft.irfft(spectrum.abs().square(), n=2 * n, dim=0)[:n] / n
