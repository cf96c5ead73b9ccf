"""What is asked of a prior: the gradient of its potential, and a bound above its curvature."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.diffusion import Denoiser, potential_gradient


@runtime_checkable
class ImagePotential(Protocol):
    """q = -log p, up to a constant: smoothed total variation is one, a denoiser makes one.

    `lipschitz` bounds the eigenvalues of the Hessian of q from above; q need not be convex. Where
    q(x) -> (B,) exists as well, its values are recorded.
    """

    @property
    def lipschitz(self) -> float:
        """L."""
        ...

    def grad(self, x: Tensor, /) -> Tensor:
        """grad q(x)."""
        ...


@dataclass(frozen=True, eq=False)
class DenoiserPotential:
    """q = -log p_sigma of images with noise of level sigma, by Tweedie's formula.

    The gradient is (x - D(x, sigma)) / sigma^2. The Hessian is (I - Cov / sigma^2) / sigma^2 with
    the covariance of x_0 given x: below 1 / sigma^2 for every distribution, whether
    log-concave or not, so steps up to 2 sigma^2 go down.

    Args:
        denoiser: D(x, sigma). The value of q is known if it has a method `potential`, as the exact
            worlds have; it is not needed.
        sigma: > 0, in intensities. The lower, the more q knows of details, and the more curved it
            is. It is a choice of the prior; the noise of a measurement is another number.
    """

    denoiser: Denoiser
    sigma: float

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise ValueError(
                f"DenoiserPotential: the noise level of p_sigma must be positive, got "
                f"{self.sigma}. Images themselves have no density that a denoiser could know."
            )

    @property
    def lipschitz(self) -> float:
        """1 / sigma^2."""
        return self.sigma**-2

    def grad(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """(x - D(x, sigma)) / sigma^2."""
        return potential_gradient(self.denoiser, x, self.sigma)

    def value(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"] | None:
        """q(x) in nats, or None where only its gradient is known."""
        known = getattr(self.denoiser, "potential", None)
        return None if known is None else known(x, self.sigma)


def as_potential(prior: Denoiser | ImagePotential, denoiser_sigma: float) -> ImagePotential:
    """The prior itself if it is a potential, or else that of a denoiser."""
    return prior if isinstance(prior, ImagePotential) else DenoiserPotential(prior, denoiser_sigma)


def value_of(q: ImagePotential, x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"] | None:
    """q(x) where it is known, else None."""
    if isinstance(q, DenoiserPotential):
        return q.value(x)
    return q(x) if callable(q) else None


def check_problem(caller: str, y: Tensor, sigma: float) -> None:
    """Refuse a measurement that is no batch of images, or a noise level that is none."""
    if y.ndim != 4 or not y.is_floating_point():
        raise ValueError(
            f"{caller}: expected y as floating-point images (B, C, H, W), got {tuple(y.shape)} "
            f"{y.dtype}. For a single image (C, H, W) use y.unsqueeze(0)."
        )
    if not torch.isfinite(y).all():
        raise ValueError(f"{caller}: y holds NaN or infinite values. Find where they arise.")
    if not 0 < sigma < float("inf"):
        raise ValueError(
            f"{caller}: sigma is the standard deviation of the noise in y and weighs the prior: "
            f"it must be positive and finite, got {sigma}. For data without noise give the size "
            "of the residual that you accept."
        )
