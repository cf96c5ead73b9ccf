"""Samplers of diffusion models: ways back from noise to an image, one step a line.

All but `reverse_sde` run in the noise level, dx / dsigma = (x - D(x, sigma)) / sigma, from
x ~ N(mean, sigma_max^2 I) to an image. `sigmas` are the levels on the way, as of `noise_levels`.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from course_lib.diffusion.schedules import Denoiser, Schedule
from course_lib.rng import check_generator, normal_like


def noise_levels(
    n_steps: int, sigma_max: float = 40.0, sigma_min: float = 0.001, rho: float = 7.0
) -> list[float]:
    """n_steps levels from sigma_max to sigma_min, uniform in sigma^(1 / rho), and then 0.

    The larger rho, the more of them are small.

    Raises:
        ValueError: fewer than two steps, or levels that do not fall.

    Source: Karras et al. 2022, arXiv:2206.00364, equation 5 (for images in [-1, 1]: twice these).
    """
    if n_steps < 2 or not 0 < sigma_min < sigma_max:
        raise ValueError(
            f"noise_levels: expected n_steps >= 2 and 0 < sigma_min < sigma_max, got {n_steps}, "
            f"{sigma_min} and {sigma_max}."
        )
    ends = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return [*torch.linspace(*ends, n_steps, dtype=torch.float64).pow(rho).tolist(), 0.0]


def euler(
    denoiser: Denoiser, x: Float[Tensor, "b c h w"], sigmas: Sequence[float]
) -> Float[Tensor, "b c h w"]:
    """The image at sigmas[-1] of x at sigmas[0], by straight steps; the error falls as 1 / n.

    A step from sigma to sigma' is x + (sigma' / sigma - 1) (x - D): part of the way to D.
    """
    for now, then in pairwise(sigmas):
        x = x + (then - now) * _slope(denoiser, x, now)
    return x


def heun(
    denoiser: Denoiser, x: Float[Tensor, "b c h w"], sigmas: Sequence[float]
) -> Float[Tensor, "b c h w"]:
    """As `euler`, with the mean of the slopes at both ends of a step: the error falls as 1 / n^2.

    The last step, to noise level 0 where there is no slope, is Euler's.

    Source: Karras et al. 2022, arXiv:2206.00364, algorithm 1.
    """
    for now, then in pairwise(sigmas):
        x = _heun_step(denoiser, x, now, then)
    return x


def stochastic_heun(
    denoiser: Denoiser,
    x: Float[Tensor, "b c h w"],
    sigmas: Sequence[float],
    *,
    generator: Generator,
    churn: float = 40.0,
    churn_range: tuple[float, float] = (0.025, 25.0),
    noise_scale: float = 1.0,
) -> Float[Tensor, "b c h w"]:
    """As `heun`, but each step first adds noise and then walks down from the higher level.

    The distribution at each level stays what it was, and errors of earlier steps are forgotten.

    Args:
        churn: 0 is `heun`; each of n steps first raises sigma to sigma (1 + gamma), with
            gamma = min(churn / n, sqrt(2) - 1), by noise of variance sigma^2 ((1 + gamma)^2 - 1).
        churn_range: levels at which noise is added.
        noise_scale: factor on the added noise; a little above 1 makes up for a denoiser that
            removes too much.

    Source: Karras et al. 2022, arXiv:2206.00364, algorithm 2.
    """
    check_generator("stochastic_heun", generator)
    gamma = min(churn / (len(sigmas) - 1), math.sqrt(2) - 1)
    for now, then in pairwise(sigmas):
        if churn_range[0] <= now <= churn_range[1]:
            raised = now * (1 + gamma)
            x = x + noise_scale * math.sqrt(raised**2 - now**2) * normal_like(x, generator)
            now = raised
        x = _heun_step(denoiser, x, now, then)
    return x


def reverse_sde(
    denoiser: Denoiser,
    x: Float[Tensor, "b c h w"],
    schedule: Schedule,
    times: Sequence[float],
    *,
    generator: Generator,
) -> Float[Tensor, "b c h w"]:
    """The reverse equation of a schedule by Euler and Maruyama, from times[0] down to times[-1].

    The error of the distribution falls as 1 / n.

    Source: Anderson 1982, doi:10.1016/0304-4149(82)90051-5.
    """
    check_generator("reverse_sde", generator)
    for now, then in pairwise(times):
        noise = schedule.diffusion(now).item() * math.sqrt(now - then) * normal_like(x, generator)
        x = x + (then - now) * schedule.reverse_drift(denoiser, x, now) + noise
    return x


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    shape: tuple[int, int, int, int],
    sigmas: Sequence[float] | None = None,
    *,
    generator: Generator,
    mean: float = 0.5,
    sampler: Callable[[Denoiser, Tensor, Sequence[float]], Tensor] = heun,
    device: torch.device | str | None = None,
) -> Float[Tensor, "b c h w"]:
    """Images of a given shape (n, C, H, W) from pure noise.

    Args:
        sigmas: noise levels on the way; by default `noise_levels(18)`.
        mean: centre of the noise, of little account where sigmas[0] is large.
        sampler: `heun`, `euler`, or `functools.partial(stochastic_heun, generator=...)`.
        device: device of the denoiser; by default that of the generator.
    """
    check_generator("sample", generator)
    sigmas = noise_levels(18) if sigmas is None else sigmas
    noise = normal_like(torch.empty(shape, device=device or generator.device), generator)
    return sampler(denoiser, mean + sigmas[0] * noise, sigmas)


def _slope(denoiser: Denoiser, x: Tensor, sigma: float) -> Tensor:
    """dx / dsigma of the probability flow."""
    return (x - denoiser(x, torch.tensor(sigma, dtype=x.dtype, device=x.device))) / sigma


def _heun_step(denoiser: Denoiser, x: Tensor, now: float, then: float) -> Tensor:
    slope = _slope(denoiser, x, now)
    ahead = x + (then - now) * slope
    if then == 0:
        return ahead
    return x + (then - now) * (slope + _slope(denoiser, ahead, then)) / 2
