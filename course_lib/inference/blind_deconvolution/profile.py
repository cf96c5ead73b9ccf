"""What is left of the objective when the image is minimised away: a curve over the kernels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.batch import image_sides, image_size
from course_lib.inference.blind_deconvolution.image_step import data_fidelity, deconvolve
from course_lib.inference.blind_deconvolution.potentials import (
    ImagePotential,
    check_problem,
)
from course_lib.operators import Blur, wrap_kernel


@dataclass(frozen=True)
class Profile:
    """phi(theta) = min over x of F(x, theta), known up to a constant of each image.

    Attributes:
        lower, upper: bounds of phi(theta_k) - phi(theta_0), (T, B); rows for the thetas.
        x: the minimisers, (T, B, C, H, W).
    """

    lower: Float[Tensor, "t b"]
    upper: Float[Tensor, "t b"]
    x: Float[Tensor, "t b c h w"]

    @property
    def change(self) -> Float[Tensor, "t b"]:
        """The middle of the bounds, a trapezoidal rule: its error is of third order in a step."""
        return (self.lower + self.upper) / 2


@torch.no_grad()
def profile(
    prior: ImagePotential,
    y: Float[Tensor, "b c h w"],
    family: Callable[[float], Float[Tensor, "1 1 k l"]],
    thetas: Sequence[float],
    *,
    sigma: float,
    max_iter: int = 200,
    rtol: float = 1e-6,
) -> Profile:
    r"""phi(theta) = min over x of 1/2 |h_theta * x - y|^2 + sigma^2 q(x), without a value of q.

    For minimisers x_k at theta_k, comparing each with the other's kernel,

        E(x_{k+1}, theta_{k+1}) - E(x_{k+1}, theta_k) <= phi(theta_{k+1}) - phi(theta_k)
            <= E(x_k, theta_{k+1}) - E(x_k, theta_k),        E(x, theta) = 1/2 |h_theta * x - y|^2,

    where q has cancelled: a gradient of q is enough to draw the curve, and closer thetas bring the
    bounds together. For a q that is not convex, x_k is the local minimum that descent finds from
    x_{k-1}, and phi the curve of that branch.

    Args:
        prior, sigma: as of `deconvolve`.
        y: blurred images.
        family: theta -> kernel; wrapped around if it is larger than the image.
        thetas: at least two, in the order in which the branch is followed.
        max_iter, rtol: as of `deconvolve`, for each theta.

    Raises:
        ValueError: fewer than two thetas, or what `deconvolve` refuses.
    """
    check_problem("profile", y, sigma)
    if len(thetas) < 2:
        raise ValueError(f"profile: a curve needs two thetas or more, got {len(thetas)}.")
    kernels = [wrap_kernel(family(theta), image_sides(y)).to(y) for theta in thetas]
    images, x = [], y
    for kernel in kernels:
        x = deconvolve(prior, y, kernel, sigma=sigma, max_iter=max_iter, rtol=rtol, x0=x).x
        images.append(x)
    operators = [Blur(kernel, image_size(y)) for kernel in kernels]
    lower, upper = [torch.zeros_like(y[:, 0, 0, 0])], [torch.zeros_like(y[:, 0, 0, 0])]
    for k in range(len(thetas) - 1):
        here, there = operators[k], operators[k + 1]
        lower.append(data_fidelity(there, images[k + 1], y) - data_fidelity(here, images[k + 1], y))
        upper.append(data_fidelity(there, images[k], y) - data_fidelity(here, images[k], y))
    return Profile(torch.stack(lower).cumsum(0), torch.stack(upper).cumsum(0), torch.stack(images))
