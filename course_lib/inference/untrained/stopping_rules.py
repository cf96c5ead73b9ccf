"""Rules that choose an iterate of a network's fit without a look at the truth."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from course_lib.batch import per_image
from course_lib.operators import GaussianNoise, Operator

Judge = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # (x, loss) -> (score, stopped), (B,)


@runtime_checkable
class StoppingRule(Protocol):
    """The iterate of least score is returned; an image has stopped once its judge says so.

    Attributes:
        keep_going: whether all steps are run, though every image has stopped, to see what comes;
            the image that is returned stays the same.
    """

    @property
    def keep_going(self) -> bool:
        """All steps are run."""
        ...

    def start(self, op: Operator, y: Tensor, generator: Generator, /) -> Judge:
        """The judge of one fit, called with every iterate and its loss."""
        ...


@dataclass(frozen=True)
class VarianceRule:
    """The step about which the iterates vary least: after it they follow noise.

    No noise level is needed.

    Args:
        window: steps over which the variance is taken, see `MovingVariance`.
        patience: steps without a lower variance after which an image has stopped.
        keep_going: as in `StoppingRule`.

    Source: Wang, Li, Zhuang, Chen, Liang & Sun 2023, arXiv:2112.06074 (ES-EMV).
    """

    window: int = 33
    patience: int = 50
    keep_going: bool = False

    def __post_init__(self) -> None:
        if self.window < 2 or self.patience < 1:
            raise ValueError(f"VarianceRule: expected window >= 2 and patience >= 1, got {self}.")

    def start(self, _op: Operator, y: Tensor, _generator: Generator, /) -> Judge:
        """The score is the moving variance."""
        variance, least = MovingVariance(self.window), y.new_full((len(y),), math.inf)
        waited = torch.zeros(len(y), dtype=torch.int64, device=y.device)

        def judge(x: Tensor, _loss: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal least, waited
            score = variance(x)
            waited = torch.where((score < least) | score.isnan(), 0, waited + 1)
            least = least.fmin(score)
            return score, waited >= self.patience

        return judge


@dataclass(frozen=True)
class DiscrepancyRule:
    """The first step with |A x - y| <= tau |noise|, for the Gaussian noise of op.noise_model.

    An image that never comes there has the step of least residual.

    Args:
        tau: factor on the norm of the noise.
        keep_going: as in `StoppingRule`.
    """

    tau: float = 1.0
    keep_going: bool = False

    def __post_init__(self) -> None:
        if not self.tau > 0:
            raise ValueError(f"DiscrepancyRule: expected tau > 0, got {self.tau}.")

    def start(self, op: Operator, y: Tensor, generator: Generator, /) -> Judge:
        """The score is the loss."""
        if not isinstance(op.noise_model, GaussianNoise):
            raise ValueError(
                f"DiscrepancyRule compares the residual with Gaussian noise, but the noise model "
                f"of {type(op).__name__} is {op.noise_model}. Give the operator a GaussianNoise, "
                "or take VarianceRule(), which needs no noise level."
            )
        x = torch.zeros(1, *op.img_size, dtype=y.dtype, device=y.device)
        noisy = op(x, generator=generator) != op.A(x)  # Inpainting leaves lost pixels at 0
        energy = self.tau**2 * op.noise_model.sigma**2 * noisy.to(y.dtype).mean()
        return lambda _x, loss: (loss, loss <= energy)


@dataclass(frozen=True)
class LastStep:
    """No rule: the last iterate."""

    keep_going: bool = True

    def start(self, _op: Operator, _y: Tensor, _generator: Generator, /) -> Judge:
        """The score falls with every step."""
        steps = count()
        return lambda _x, loss: (torch.full_like(loss, -next(steps)), torch.zeros_like(loss) > 0)


class MovingVariance:
    """Variance of an image about its mean over the last steps, averaged over pixels.

    Both are means with weights (1 - 1 / window)^age; NaN during the first `window` steps.
    """

    def __init__(self, window: int) -> None:
        self.share, self.burn_in = 1 / window, window
        self.mean: Tensor | None = None

    def __call__(self, x: Tensor) -> Float[Tensor, " b"]:
        """The variance with one more iterate."""
        if self.mean is None:
            self.mean, self.variance = x, torch.zeros_like(x[:, 0, 0, 0])
        change = x - self.mean
        self.mean = self.mean + self.share * change
        new = self.variance + self.share * change.square().flatten(1).mean(1)
        self.variance = (1 - self.share) * new
        self.burn_in -= 1
        return self.variance if self.burn_in < 0 else torch.full_like(new, math.nan)


class Best:
    """The iterate of least score of each image, its step and its score."""

    def __init__(self, y: Tensor) -> None:
        self.x = torch.zeros(())  # until the first offer
        self.score = torch.full((len(y),), math.inf, dtype=y.dtype, device=y.device)
        self.step = torch.zeros(len(y), dtype=torch.int64, device=y.device)

    def offer(self, x: Tensor, score: Tensor, step: int, closed: Tensor | None = None) -> None:
        """Take the images that are better and not closed. NaN is never better."""
        better = score < self.score if closed is None else (score < self.score) & ~closed
        self.x = torch.where(per_image(better, x), x, self.x) if self.x.ndim else x
        self.score = torch.where(better, score, self.score)
        self.step = torch.where(better, step, self.step)
