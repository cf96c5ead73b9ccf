"""Noise models: what happens between A(x) and the file on the disk."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from course_lib.random import normal_like


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
        return clean + self.sigma * normal_like(clean, generator)


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
        if not (clean >= 0).all():
            raise ValueError(
                f"PoissonNoise: a photon rate cannot be negative, but the clean measurement has "
                f"minimum {clean.min().item():.3g}. Use an operator and an image with A(x) >= 0."
            )
        rates = (clean / self.gain).to(generator.device)
        return self.gain * torch.poisson(rates, generator=generator).to(clean.device)
