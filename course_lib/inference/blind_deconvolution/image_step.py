"""The image, given the kernel: steps on F(x) = 1/2 |h * x - y|^2 + sigma^2 q(x)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.batch import image_size, inner, per_image
from course_lib.inference.blind_deconvolution.potentials import (
    ImagePotential,
    check_problem,
    value_of,
)
from course_lib.operators import Blur, BlurEach
from course_lib.protocols import ImageMap
from course_lib.solvers.iterate import Row, identity, iterate
from course_lib.solvers.momentum import Momentum
from course_lib.solvers.solution import Solution


@dataclass(frozen=True, eq=False)
class ImageObjective:
    """F(x) = 1/2 |h * x - y|^2 + sigma^2 q(x), with one kernel for each image.

    Args:
        op: convolution with the kernels.
        y: blurred images.
        q: potential of the prior.
        sigma: standard deviation of the noise in y.
    """

    op: BlurEach
    y: Float[Tensor, "b c h w"]
    q: ImagePotential
    sigma: float

    def gradient_step(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """x - grad F(x) / (|h^|^2 + sigma^2 L), the largest |h^|^2 of each kernel."""
        gradient = self.op.A_adjoint(self.op.A(x) - self.y) + self.sigma**2 * self.q.grad(x)
        gain = self.op.gain.flatten(1).amax(1)
        return x - gradient / per_image(gain + self.sigma**2 * self.q.lipschitz, x)

    def proximal_step(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """argmin_u 1/2 |h * u - y|^2 + sigma^2 L/2 |u - (x - grad q(x) / L)|^2."""
        centre = x - self.q.grad(x) / self.q.lipschitz
        return self.op.prox_l2(centre, self.y, 1 / (self.sigma**2 * self.q.lipschitz))

    def row(self, x: Float[Tensor, "b c h w"]) -> Row:
        """1/2 |h * x - y|^2, and the objective F(x) where the value of q is known."""
        fit, value = data_fidelity(self.op, x, self.y), value_of(self.q, x)
        known = {} if value is None else {"objective": fit + self.sigma**2 * value}
        return {"data_fidelity": fit} | known


@dataclass(frozen=True)
class ImageStep:
    """One step on F, which never raises it (without momentum, and with a true `q.lipschitz`).

    "gradient": a step of length 1 / Lip(grad F). "proximal": the data term is not linearised but
    minimised, in Fourier. That model curves as F does where h^ is small, and its steps are
    1 + |h^|^2 / (sigma^2 L) times longer there: this is where a blurred image is slow to come
    back. Both have the fixed points grad F = 0. With the q of a denoiser, L = 1 / s^2, and the
    proximal step is taken from D(x, s) itself.

    Args:
        method: "gradient" or "proximal".
        momentum: extrapolation before each step, see `Momentum`.
    """

    method: Literal["gradient", "proximal"] = "proximal"
    momentum: bool = True

    def __post_init__(self) -> None:
        if self.method not in ("gradient", "proximal"):
            raise ValueError(
                f"ImageStep: method must be 'gradient' or 'proximal', got {self.method!r}."
            )

    def ahead(self) -> ImageMap:
        """The map from an iterate to the point from which the next step is taken."""
        return Momentum() if self.momentum else identity

    def __call__(self, f: ImageObjective, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """x after one step on f."""
        return f.gradient_step(x) if self.method == "gradient" else f.proximal_step(x)


def data_fidelity(op: Blur, x: Tensor, y: Tensor) -> Float[Tensor, " b"]:
    """1/2 |h * x - y|^2 of each image."""
    return inner(r := op.A(x) - y, r) / 2


@torch.no_grad()
def deconvolve(
    prior: ImagePotential,
    y: Float[Tensor, "b c h w"],
    kernel: Float[Tensor, "#b 1 k l"],
    *,
    sigma: float,
    image_step: ImageStep = ImageStep(),
    max_iter: int = 100,
    rtol: float = 1e-5,
    x0: Tensor | None = None,
) -> Solution:
    """min over x of 1/2 |h * x - y|^2 + sigma^2 q(x), the kernels h known.

    Args:
        prior: potential q, such as `SmoothedTV` or `DenoiserPotential`.
        y: blurred images.
        kernel: one for all images or one for each.
        sigma: standard deviation of the noise in y.
        image_step: method of the steps; without momentum none raises the objective.
        max_iter, rtol: an image stops once |x_new - x| <= rtol |x_new|.
        x0: starting point, y by default.

    Returns:
        Solution; history has a row an iteration: "data_fidelity", 1/2 |h * x - y|^2, "change", and
        "objective" where the value of q is known.

    Raises:
        ValueError: shapes or numbers that make no sense.
    """
    check_problem("deconvolve", y, sigma)
    op = BlurEach(kernel.expand(len(y), -1, -1, -1), image_size(y))
    f, ahead = ImageObjective(op, y, prior, sigma), image_step.ahead()

    def step(x: Tensor) -> tuple[Tensor, Row]:
        return image_step(f, ahead(x)), f.row(x)

    x = y if x0 is None else x0
    return iterate(step, x, max_iter=max_iter, rtol=rtol, last=f.row).without_start()
