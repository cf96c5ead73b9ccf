"""The image, given the kernel: steps on F(x) = 1/2 |h * x - y|^2 + sigma^2 q(x)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.batch import inner, per_image
from course_lib.diffusion import Denoiser
from course_lib.inference.blind_deconvolution.momentum import Momentum
from course_lib.inference.blind_deconvolution.potentials import (
    Potential,
    as_potential,
    check_problem,
    value_of,
)
from course_lib.operators import Blur, BlurEach
from course_lib.solvers.solution import History, Solution, status_of


@dataclass(frozen=True, eq=False)
class ImageStep:
    """One step on F, which never raises it (without momentum, and with a true `q.lipschitz`).

    "gradient": x - grad F(x) / (|h^|^2 + sigma^2 L), the largest |h^|^2 of each kernel.
    "proximal": the data term is not linearised but minimised, in Fourier,

        argmin_u 1/2 |h * u - y|^2 + sigma^2 L/2 |u - (x - grad q(x) / L)|^2.

    It curves as F does where h^ is small, and its steps are 1 + |h^|^2 / (sigma^2 L) times longer
    there: this is where a blurred image is slow to come back. Both rest where grad F = 0. With
    the q of a denoiser, L = 1 / s^2 and the middle of the parabola is D(x, s) itself.
    """

    q: Potential
    y: Float[Tensor, "b c h w"]
    sigma: float
    method: str = "proximal"

    def __post_init__(self) -> None:
        if self.method not in ("gradient", "proximal"):
            raise ValueError(f"image_step must be 'gradient' or 'proximal', got {self.method!r}.")

    def __call__(self, op: BlurEach, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        slope, curvature = self.q.grad(x), self.q.lipschitz
        if self.method == "proximal":
            return op.prox_l2(x - slope / curvature, self.y, 1 / (self.sigma**2 * curvature))
        gradient = op.A_adjoint(op.A(x) - self.y) + self.sigma**2 * slope
        gain = op.gain.flatten(1).amax(1)
        return x - gradient / per_image(gain + self.sigma**2 * curvature, x)


def misfit(op: Blur, x: Tensor, y: Tensor) -> Float[Tensor, " b"]:
    """1/2 |h * x - y|^2 of each image."""
    return inner(r := op.A(x) - y, r) / 2


@torch.no_grad()
def deconvolve(
    denoiser: Denoiser | Potential,
    y: Float[Tensor, "b c h w"],
    kernel: Float[Tensor, "#b 1 k l"],
    *,
    sigma: float,
    denoiser_sigma: float = 0.02,
    n_iter: int = 100,
    rtol: float = 1e-5,
    image_step: str = "proximal",
    momentum: bool = True,
    x0: Tensor | None = None,
) -> Solution:
    """min over x of 1/2 |h * x - y|^2 + sigma^2 q(x), the kernels h known.

    Args:
        denoiser: D(x, sigma); or any potential q with `grad` and `lipschitz`.
        y: blurred images.
        kernel: one for all images or one for each.
        sigma: standard deviation of the noise in y.
        denoiser_sigma: noise level at which the denoiser is asked (of a potential: not used).
        n_iter, rtol: an image rests once |x_new - x| <= rtol |x_new|.
        image_step: "gradient" or "proximal", see `ImageStep`.
        momentum: extrapolate; without it no step goes up.
        x0: where to start, y itself by default.

    Returns:
        Solution; history has a row an iteration: "misfit", 1/2 |h * x - y|^2, "change", and
        "objective" where the value of q is known.

    Raises:
        ValueError: shapes or numbers that make no sense.
    """
    check_problem("deconvolve", y, sigma)
    q = as_potential(denoiser, denoiser_sigma)
    step = ImageStep(q, y, sigma, image_step)
    op = BlurEach(kernel.expand(len(y), -1, -1, -1), tuple(y.shape[1:]))
    image = Momentum(y if x0 is None else x0, momentum)
    record = History("misfit", "change")
    objective = []
    active = torch.ones(len(y), dtype=torch.bool, device=y.device)
    finite = active
    for _ in range(n_iter):
        old = image.x
        image.move(torch.where(per_image(active, y), step(op, image.ahead), old))
        change = (image.x - old).flatten(1).norm(dim=1)
        fit = misfit(op, image.x, y)
        record.add(misfit=fit, change=change)
        if (value := value_of(q, image.x)) is not None:
            objective.append(fit + sigma**2 * value)
        finite = change.isfinite()
        active = active & finite & (change > rtol * image.x.flatten(1).norm(dim=1))
        if not active.any():
            break
    history = record.stack()
    if objective:
        history["objective"] = torch.stack(objective).cpu()
    return Solution(image.x, status_of(~active & finite, ~finite), history, len(history["change"]))
