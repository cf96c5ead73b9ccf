"""Priors that are known only through a denoiser: plug-and-play and regularisation by denoising."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.functionals.base import Functional
from course_lib.protocols import Denoiser


def check_denoising(name: str, weight: float, level: float = 1.0) -> None:
    """Refuse a weight or a noise level that is not a positive number."""
    for what, value in (("weight", weight), ("level", level)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name}: {what} must be a positive number, got {value}.")


@dataclass(frozen=True, eq=False)
class PlugAndPlay:
    r"""weight g, where the proximal map of g is taken to be a denoiser: plug-and-play.

    prox(v) = argmin_u weight g(u) + |u - v|^2 / (2 tau) is the most probable image behind v with
    noise of variance tau weight, if exp(-g) is the density of images. A denoiser, which was trained
    for the mean of that posterior, stands in for it. It need not be the proximal map of anything:
    g has no known value (NaN), and what can be spoken of are the fixed points of an algorithm.

    Args:
        denoiser: D(x, sigma), for images in [0, 1].
        weight: sigma^2, if the data term is |A x - y|^2 / 2 with noise of standard deviation sigma.

    Raises:
        ValueError: a weight that is not positive.

    Source: Venkatakrishnan, Bouman & Wohlberg 2013, doi:10.1109/GlobalSIP.2013.6737048.
    """

    denoiser: Denoiser
    weight: float

    def __post_init__(self) -> None:
        check_denoising("PlugAndPlay", self.weight)

    def __call__(self, x: Tensor, /) -> Tensor:
        """Unknown: NaN for each image, (B,)."""
        return torch.full_like(x.flatten(1)[:, 0], math.nan)

    def prox(self, x: Tensor, step_size: float) -> Tensor:
        """D(x, sqrt(step_size weight))."""
        return self.denoiser(x, math.sqrt(step_size * self.weight))


@dataclass(frozen=True, eq=False)
class RegularisationByDenoising(Functional):
    r"""weight / 2 <x, x - D(x)>, with the gradient weight (x - D(x)).

    That is its gradient only where the Jacobian J of D is symmetric and D(x) = J x, which holds for
    a linear symmetric D and for few others [Reehorst & Schniter 2019]; the descent along
    x - D(x) makes sense all the same, since at its end the denoiser and the data pull equally.

    Args:
        denoiser: D(x, sigma), for images in [0, 1].
        level: the sigma that it is called with.
        weight: weight of the penalty.

    Raises:
        ValueError: a weight or a level that is not positive.

    Source: Romano, Elad & Milanfar 2017, arXiv:1611.02862; Reehorst & Schniter 2019,
    arXiv:1806.02296.
    """

    denoiser: Denoiser
    level: float
    weight: float

    def __post_init__(self) -> None:
        check_denoising("RegularisationByDenoising", self.weight, self.level)

    @property
    def lipschitz(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """2 weight, a bound if D does not expand distances."""
        return 2 * self.weight

    def __call__(self, x: Tensor) -> Tensor:
        """weight / 2 <x, x - D(x)>, (B,)."""
        return 0.5 * (x * self.grad(x)).flatten(1).sum(1)

    def grad(self, x: Tensor) -> Tensor:
        """weight (x - D(x))."""
        return self.weight * (x - self.denoiser(x, self.level))
