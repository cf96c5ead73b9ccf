r"""Stochastic differential equations that turn images into noise, and their ways back.

    dx = f(t) x dt + g(t) dw,    so that    x_t | x_0 ~ N(s(t) x_0, s(t)^2 sigma(t)^2 I).

The scale s and the noise level sigma say all: f = s' / s and g^2 = 2 s^2 sigma sigma'. So every
linear equation is the simplest one, s = 1, sigma = t, seen through a change of time and of unit,
and one function denoiser(x, sigma) = E[x_0 | x_0 + sigma w = x] serves them all:

    grad log p_t(x) = (D(x / s, sigma) - x / s) / (s sigma^2)      (Tweedie).

With it come, from the horizon back to an image,

    the reverse equation             dx = (f x - g^2 grad log p_t) dt + g dw,   dt < 0,
    the probability-flow equation    dx = (f x - g^2 grad log p_t / 2) dt.

w in the first one is a Brownian motion in reverse time. The second one has the same distribution
at each t, as Fokker and Planck's equation shows (erratum E1: the sign is minus).

Source: Song et al. 2021, arXiv:2011.13456; Karras et al. 2022, arXiv:2206.00364.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.batch import per_image
from course_lib.protocols import Denoiser

Time = float | Tensor  # of a whole batch, or one for each image, (B,)


class Schedule:
    """A linear equation: `horizon` is the time of (nearly) pure noise, `start` > 0 that of images.

    As it stands it has s = 1 and f = 0; a subclass gives `sigma`, `time` and `diffusion`.
    """

    horizon: float
    start: float

    def scale(self, t: Time) -> Tensor:
        """s(t)."""
        return torch.ones_like(_time(t))

    def drift(self, t: Time) -> Tensor:
        """f(t), which multiplies x."""
        return torch.zeros_like(_time(t))

    def sigma(self, t: Time) -> Tensor:
        """The noise level, relative to the scale."""
        raise NotImplementedError

    def time(self, sigma: Time) -> Tensor:
        """The time at which the noise level is sigma."""
        raise NotImplementedError

    def diffusion(self, t: Time) -> Tensor:
        """g(t)."""
        raise NotImplementedError

    def score(self, denoiser: Denoiser, x: Tensor, t: Time) -> Tensor:
        """grad log p_t(x), by Tweedie's formula."""
        s, sigma = _like(self.scale(t), x), self.sigma(t).to(x)
        return (denoiser(x / s, sigma) - x / s) / (s * _like(sigma, x).square())

    def velocity(self, denoiser: Denoiser, x: Tensor, t: Time) -> Tensor:
        """dx / dt of the probability flow, f x - g^2 grad log p_t / 2."""
        f, g = _like(self.drift(t), x), _like(self.diffusion(t), x)
        return f * x - g.square() * self.score(denoiser, x, t) / 2

    def reverse_drift(self, denoiser: Denoiser, x: Tensor, t: Time) -> Tensor:
        """f x - g^2 grad log p_t, the mean of dx / dt on the way back."""
        f, g = _like(self.drift(t), x), _like(self.diffusion(t), x)
        return f * x - g.square() * self.score(denoiser, x, t)


@dataclass(frozen=True)
class EDM(Schedule):
    """s = 1 and sigma = t: time is the noise level.

    The published noise levels are those of images in [-1, 1]; these are half of them, for [0, 1].

    Source: Karras et al. 2022, arXiv:2206.00364.
    """

    start: float = 0.001
    horizon: float = 40.0

    def sigma(self, t: Time) -> Tensor:
        """t."""
        return _time(t)

    def time(self, sigma: Time) -> Tensor:
        """sigma."""
        return _time(sigma)

    def diffusion(self, t: Time) -> Tensor:
        """g = sqrt(2 t)."""
        return (2 * _time(t)).sqrt()


@dataclass(frozen=True)
class VarianceExploding(Schedule):
    """s = 1 and sigma = sigma_min (sigma_max / sigma_min)^t: the noise level grows geometrically.

    At t = 0 images carry noise of sigma_min already.

    Source: Song et al. 2021, arXiv:2011.13456, with the values of their FFHQ network, [0, 1].
    """

    sigma_min: float = 0.01
    sigma_max: float = 348.0
    start: float = 1e-5
    horizon: float = 1.0

    @property
    def growth(self) -> float:
        """The logarithm of sigma_max / sigma_min."""
        return math.log(self.sigma_max / self.sigma_min)

    def sigma(self, t: Time) -> Tensor:
        """sigma_min (sigma_max / sigma_min)^t."""
        return self.sigma_min * (self.growth * _time(t)).exp()

    def time(self, sigma: Time) -> Tensor:
        """log(sigma / sigma_min) / log(sigma_max / sigma_min)."""
        return (_time(sigma) / self.sigma_min).log() / self.growth

    def diffusion(self, t: Time) -> Tensor:
        """g = sigma(t) sqrt(2 log(sigma_max / sigma_min))."""
        return self.sigma(t) * math.sqrt(2 * self.growth)


@dataclass(frozen=True)
class VariancePreserving(Schedule):
    """f = -beta / 2, g^2 = beta, with beta = beta_min + (beta_max - beta_min) t.

    s = exp(-B / 2) and s^2 sigma^2 = 1 - exp(-B), where B is the integral of beta: white data of
    variance 1 keep it. Images should be centred, in [-1, 1].

    Source: Song et al. 2021, arXiv:2011.13456.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    start: float = 1e-5
    horizon: float = 1.0

    def beta(self, t: Time) -> Tensor:
        """The rate at which images are forgotten."""
        return self.beta_min + (self.beta_max - self.beta_min) * _time(t)

    def integral(self, t: Time) -> Tensor:
        """B(t), the integral of beta from 0."""
        t = _time(t)
        return self.beta_min * t + (self.beta_max - self.beta_min) * t.square() / 2

    def scale(self, t: Time) -> Tensor:
        """exp(-B / 2)."""
        return (-self.integral(t) / 2).exp()

    def sigma(self, t: Time) -> Tensor:
        """sqrt(exp(B) - 1)."""
        return self.integral(t).expm1().sqrt()

    def time(self, sigma: Time) -> Tensor:
        """The time at which B = log(1 + sigma^2)."""
        return self._time_of_integral(_time(sigma).square().log1p())

    def drift(self, t: Time) -> Tensor:
        """f = -beta / 2."""
        return -self.beta(t) / 2

    def diffusion(self, t: Time) -> Tensor:
        """g = sqrt(beta)."""
        return self.beta(t).sqrt()

    def _time_of_integral(self, integral: Tensor) -> Tensor:
        """The positive root of B(t) = integral, without cancellation."""
        slope = self.beta_max - self.beta_min
        return 2 * integral / (self.beta_min + (self.beta_min**2 + 2 * slope * integral).sqrt())


@dataclass(frozen=True)
class SubVariancePreserving(VariancePreserving):
    """As `VariancePreserving`, with g^2 = beta (1 - exp(-2 B)): s sigma = 1 - exp(-B), less noise.

    Source: Song et al. 2021, arXiv:2011.13456.
    """

    def sigma(self, t: Time) -> Tensor:
        """2 sinh(B / 2)."""
        return 2 * (self.integral(t) / 2).sinh()

    def time(self, sigma: Time) -> Tensor:
        """The time at which B = 2 asinh(sigma / 2)."""
        return self._time_of_integral(2 * (_time(sigma) / 2).asinh())

    def diffusion(self, t: Time) -> Tensor:
        """g = sqrt(beta (1 - exp(-2 B)))."""
        return (-self.beta(t) * (-2 * self.integral(t)).expm1()).sqrt()


def denoiser_from_score(score: Callable[[Tensor, Tensor], Tensor], schedule: Schedule) -> Denoiser:
    """D(x, sigma) = x + s sigma^2 score(s x, t), for a network score(x_t, t), grad log p_t."""

    def denoiser(x: Tensor, sigma: float | Tensor) -> Tensor:
        t = schedule.time(sigma)
        s = _like(schedule.scale(t), x)
        return x + s * _like(_time(sigma), x).square() * score(s * x, t.to(x))

    return denoiser


def denoiser_from_noise(noise: Callable[[Tensor, Tensor], Tensor], schedule: Schedule) -> Denoiser:
    """D(x, sigma) = x - sigma e(s x, t), for a network that predicts the noise w from x_t and t."""

    def denoiser(x: Tensor, sigma: float | Tensor) -> Tensor:
        t = schedule.time(sigma)
        return x - _like(_time(sigma), x) * noise(_like(schedule.scale(t), x) * x, t.to(x))

    return denoiser


def _time(t: Time) -> Tensor:
    """In double precision: B(t) is a difference of close numbers near t = 0."""
    return torch.as_tensor(t, dtype=torch.float64)


def _like(values: Tensor, x: Tensor) -> Tensor:
    """() or (B,), made to multiply images (B, C, H, W) in their precision."""
    return per_image(values, x).to(x) if values.ndim else values.to(x)
