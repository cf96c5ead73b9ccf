"""Descent on the weights of untrained networks, and what keeps it from diverging."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from course_lib.batch import per_image
from course_lib.rng import normal_like

METHODS = {"adam": partial(torch.optim.Adam, fused=True), "gd": torch.optim.SGD}
BACKUP = 50  # steps between two copies of the weights


@dataclass(frozen=True)
class NetworkDescent:
    """Settings of a descent on the weights of one network for each image.

    Args:
        max_iter: largest number of steps.
        step_size: learning rate.
        method: "adam", or "gd" for theta <- theta - step_size * gradient of |A f(z) - y|^2 / 2.
        noise_std: standard deviation of fresh noise on z at each step, which makes f smooth.
        averaging: a in the running mean of the iterates with weights a^age, which is returned and
            scored; 0 for the iterates themselves.
        max_drop: dB. Every `BACKUP` steps the weights are copied; where the loss of an image has
            risen by more since the last copy, they go back to it. math.inf for never.

    Raises:
        ValueError: a setting out of its range.
    """

    max_iter: int = 1500
    step_size: float = 0.01
    method: Literal["adam", "gd"] = "adam"
    noise_std: float = 1 / 30
    averaging: float = 0.99
    max_drop: float = 5.0

    def __post_init__(self) -> None:
        expected = {
            "max_iter": ("1 or more", self.max_iter >= 1),
            "step_size": ("positive and finite", 0 < self.step_size < math.inf),
            "method": (f"one of {', '.join(METHODS)}", self.method in METHODS),
            "noise_std": ("finite and not negative", 0 <= self.noise_std < math.inf),
            "averaging": ("in [0, 1)", 0 <= self.averaging < 1),
            "max_drop": ("above 0 dB, or math.inf", self.max_drop > 0),
        }
        for name, (what, holds) in expected.items():
            if not holds:
                value = getattr(self, name)
                raise ValueError(f"NetworkDescent: expected {name} {what}, got {value!r}.")

    def start(self, network: nn.Module) -> "Weights":
        """The weights of a batch of networks, ready to move."""
        return Weights(self, list(network.parameters()))

    def perturb(self, z: Tensor, generator: Generator) -> Tensor:
        """z with fresh noise."""
        return z + self.noise_std * normal_like(z, generator) if self.noise_std else z

    def average(self, mean: Tensor, x: Tensor, step: int) -> Tensor:
        """The running mean with one more iterate, that of this step, counted from 0."""
        a = self.averaging
        return mean + (1 - a) / (1 - a ** (step + 1)) * (x - mean)


class Weights:
    """Weights that an optimiser moves, with a copy to go back to."""

    def __init__(self, settings: NetworkDescent, parameters: list[nn.Parameter]) -> None:
        self.parameters, self.factor = parameters, 10 ** (settings.max_drop / 10)
        self.optimiser = METHODS[settings.method](parameters, lr=settings.step_size)
        self.copies = [p.detach().clone() for p in parameters]
        self.loss: Tensor | float = math.inf  # at the copies

    def fallen(self, loss: Tensor, step: int) -> Tensor:
        """The images whose loss has risen too much; the weights of the others are copied."""
        if step % BACKUP:
            return torch.zeros_like(loss, dtype=torch.bool)
        bad = loss > self.factor * self.loss
        _copy(self.parameters, self.copies, ~bad)
        self.loss = torch.where(bad, self.loss, loss)
        return bad

    def move(self, objective: Tensor, fallen: Tensor) -> None:
        """Down the gradient of the objective; the images that have fallen go back."""
        self.optimiser.zero_grad()
        objective.backward()
        self.optimiser.step()
        if fallen.any():
            _copy(self.copies, self.parameters, fallen)


@torch.no_grad()
def _copy(sources: Sequence[Tensor], targets: Sequence[Tensor], rows: Tensor) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(torch.where(per_image(rows, target), source, target))
