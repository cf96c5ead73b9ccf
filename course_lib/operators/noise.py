"""Noise models: what happens between A(x) and the file on the disk, and how likely it was.

Each draws y given A(x), knows the standard deviation of that draw, and its -log p(y | A(x)).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from course_lib.rng import normal_like

FAINTEST = 0.01  # photons: a lower rate is continued, see PoissonNoise.negative_log_likelihood


@dataclass(frozen=True)
class GaussianNoise:
    """y = clean + sigma * w with w ~ N(0, I).

    Args:
        sigma: standard deviation on the [0, 1] intensity scale; 7.65 / 255 is 0.03.
    """

    sigma: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma >= 0):
            raise ValueError(
                f"GaussianNoise: sigma must be a finite number >= 0, got {self.sigma}. It is a "
                "standard deviation for images in [0, 1]: write 10 / 255 for ten grey levels."
            )

    def __call__(self, clean: Tensor, *, generator: Generator) -> Tensor:
        """clean + sigma eps, eps ~ N(0, I)."""
        return clean + self.sigma * normal_like(clean, generator)

    def std(self, clean: Tensor) -> Tensor:
        """Standard deviation of y given the clean measurement, of its shape."""
        return torch.full_like(clean, self.sigma)

    def negative_log_likelihood(self, clean: Tensor, y: Tensor) -> Float[Tensor, " batch"]:
        """-log p(y | clean), nats per image: |y - clean|^2 / (2 sigma^2) and its constant.

        Raises:
            ValueError: sigma is 0; then y has no density.
        """
        if self.sigma == 0:
            raise ValueError(
                "GaussianNoise: sigma is 0, and y = A(x) has no density. Give the size of the "
                "misfit that you accept as sigma."
            )
        constant = y[0].numel() * math.log(self.sigma * math.sqrt(2 * math.pi))
        return (y - clean).flatten(1).square().sum(1) / (2 * self.sigma**2) + constant


@dataclass(frozen=True)
class PoissonNoise:
    """Photon counting: y = gain * Poisson(clean / gain), so E[y] = clean and Var[y] = gain * clean.

    Args:
        gain: intensity of one photon; 1 / 100 means that white receives 100 photons.
    """

    gain: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.gain) and self.gain > 0):
            raise ValueError(
                f"PoissonNoise: gain must be a finite number > 0, got {self.gain}. It is the "
                "intensity of one photon: 0.01 gives 100 photons to a white pixel."
            )

    def __call__(self, clean: Tensor, *, generator: Generator) -> Tensor:
        """gain times a Poisson draw of mean clean / gain."""
        if not (clean >= 0).all():
            raise ValueError(
                f"PoissonNoise: a photon rate cannot be negative, but the clean measurement has "
                f"minimum {clean.min().item():.3g}. Use an operator and an image with A(x) >= 0."
            )
        rates = (clean / self.gain).to(generator.device)
        return self.gain * torch.poisson(rates, generator=generator).to(clean.device)

    def std(self, clean: Tensor) -> Tensor:
        """Standard deviation of y given the clean measurement: sqrt(gain * clean)."""
        return (self.gain * clean.clamp(min=0)).sqrt()

    def negative_log_likelihood(self, clean: Tensor, y: Tensor) -> Float[Tensor, " batch"]:
        """-log P(y | clean), nats per image: sum of r - k log r + log k! over counts k = y / gain.

        The rate is r = clean / gain where that exceeds a hundredth of a photon. Below, r goes on as
        an exponential with the same value and slope, so that an image whose network strays below
        black is unlikely instead of impossible, and a descent comes back.
        """
        count, rate = y / self.gain, clean / self.gain
        log_dark = (rate - FAINTEST).clamp(max=0) / FAINTEST + math.log(FAINTEST)
        log_rate = torch.where(rate > FAINTEST, rate.clamp(min=FAINTEST).log(), log_dark)
        nats = log_rate.exp() - count * log_rate + torch.lgamma(count + 1)
        return nats.flatten(1).sum(1)
