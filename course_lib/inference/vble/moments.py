"""Mean and standard deviation of draws that arrive in pieces, in constant memory."""

from typing import NamedTuple

import torch
from torch import Tensor


class Moments(NamedTuple):
    """Moments of each pixel."""

    mean: Tensor
    std: Tensor  # with n - 1 degrees of freedom, in the unit of the image


class RunningMoments:
    """Count, mean and sum of squared deviations of all draws so far.

    Source: Chan, Golub & LeVeque 1983, doi:10.1080/00031305.1983.10483115.
    """

    def __init__(self) -> None:
        self.n, self.mean, self.squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, draws: Tensor) -> None:
        """Take in k more draws, (k, ...)."""
        k, mean = len(draws), draws.mean(0)
        gap, within = mean - self.mean, (draws - mean).square().sum(0)
        total = self.n + k
        self.squares = self.squares + within + self.n * k / total * gap.square()
        self.mean, self.n = self.mean + k / total * gap, total

    def moments(self) -> Moments:
        """Moments so far; NaN as the standard deviation of a single draw."""
        return Moments(self.mean, (self.squares / (self.n - 1)).sqrt())
