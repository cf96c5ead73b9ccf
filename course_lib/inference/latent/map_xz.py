"""Image and latent together, when the image may leave the range of the generator."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.batch import per_image
from course_lib.inference.latent.conditional_mean import conditional_mean
from course_lib.inference.latent.energy import JointEnergy, model_std, noise_sigma
from course_lib.inference.latent.generator import EncodingGenerator, LatentGenerator, check_encoder
from course_lib.inference.latent.map_z import LatentSolution
from course_lib.inference.latent.start import encoded
from course_lib.operators import Operator
from course_lib.solvers import LBFGS, Adam, minimise
from course_lib.solvers.solution import History, status_of
from course_lib.validation import check_measurement


@dataclass(frozen=True)
class Sweeps:
    """Turns of image and latent in `map_xz`, and when they end.

    Args:
        max_iter: largest number of sweeps.
        atol: an image is frozen once the root mean square changes of x and of z, added, are at
            most atol in one sweep.
        continuation: number of sweeps over which 1 / s^2 grows from a tenth to its final value:
            an image that may stray from G is less attracted by the first latent.

    Raises:
        ValueError: sweeps that end before s has its final value.
    """

    max_iter: int = 100
    atol: float = 1e-3
    continuation: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.continuation < self.max_iter:
            raise ValueError(
                "Sweeps: expected 0 <= continuation < max_iter, got "
                f"{self.continuation} and {self.max_iter}: s must reach its final value."
            )

    def stds(self, std: float) -> list[float]:
        """s in each sweep, falling to std."""
        c = self.continuation
        return [std * math.sqrt(10) ** (1 - k / c if k < c else 0) for k in range(self.max_iter)]


@torch.no_grad()
def map_xz(
    model: LatentGenerator,
    op: Operator,
    y: Tensor,
    *,
    sigma: float | None = None,
    std: float | None = None,
    x0: Tensor | None = None,
    sweeps: Sweeps = Sweeps(),
    optimiser: LBFGS | Adam = LBFGS(max_iter=20, rtol=0.0),
) -> LatentSolution:
    """Minimise J(x, z) over the image and the latent in turn; J never rises.

    For x the minimum is exact, `conditional_mean`. For z the encoder proposes the mean of
    q(z | x), one pass instead of an optimisation; where that does not lower J, optimise.

    Args:
        model: with `encode`, and `noise_std` unless std is given; in evaluation mode.
        op, y, sigma: as in `map_z`, for a linear operator.
        std: s, the deviation of images from the range of G; model.noise_std by default. J tends
            to the objective of `map_z` as s goes to 0, but then the sweeps become slow.
        x0: images (B, C, H, W) to encode first; `first_guess` by default.
        sweeps: their number, their end, and the way of s.
        optimiser: for the steps over z in one sweep.

    Returns:
        LatentSolution with R = 1, x (not G(z)), and J as objective. History: "objective", J at
        the s of each sweep, the start first; "change"; "encoder", 1 where its proposal was taken.

    Raises:
        ValueError: as in `map_z`, and a model without encoder or std.

    Source: González, Almansa & Tan 2022, arXiv:2103.01648.
    """
    check_measurement("map_xz", op, y)
    sigma, std = noise_sigma("map_xz", op, sigma), model_std("map_xz", model, std)
    stds = sweeps.stds(std)
    remedy = "use map_z, from the prior."
    z = encoded("map_xz", model, op, y, x0, sigma=sigma, remedy=remedy).mean
    encoder = check_encoder("map_xz", model, remedy)
    x = conditional_mean(model, op, y, z, sigma=sigma, std=stds[0])
    objective = JointEnergy(model, op, y, sigma, stds[0])(x, z)
    change, taken = torch.full_like(objective, math.inf), torch.zeros_like(objective)
    history = History("objective", "change", "encoder")
    history.add(objective=objective)
    rows = torch.arange(len(y), device=y.device)
    for sweep, s in enumerate(stds):
        J = JointEnergy(model, op, y[rows], sigma, s)
        z_new, by_encoder = _lower_over_z(J, x[rows], z[rows], encoder, optimiser)
        x_new, value = _least_over_x(J, x[rows], z_new)
        moved = _rms(x_new - x[rows]) + _rms(z_new - z[rows])
        old, new = (x, z, objective, change, taken), (x_new, z_new, value, moved, by_encoder)
        x, z, objective, change, taken = (
            a.index_copy(0, rows, b.to(a.dtype)) for a, b in zip(old, new, strict=True)
        )
        history.add(objective=objective, change=change, encoder=taken)
        moving = (change > sweeps.atol) | (sweep < sweeps.continuation)
        rows = (moving & objective.isfinite()).nonzero().squeeze(1)
        if not len(rows):
            break
    return LatentSolution(
        x,
        status_of(change <= sweeps.atol, ~objective.isfinite()),
        history.stack(),
        len(history.rows["change"]),
        z=z,
        objective=objective,
        all_z=z[:, None],
        all_objective=objective[:, None],
    )


def _least_over_x(J: JointEnergy, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """argmin J(., z), and J there. If its iterations end above J(x, z), the old x stays."""
    new = conditional_mean(J.model, J.op, J.y, z, sigma=J.sigma, std=J.std)
    value, unmoved = J(new, z), J(x, z)
    return torch.where(per_image(value <= unmoved, x), new, x), torch.minimum(value, unmoved)


def _lower_over_z(
    J: JointEnergy, x: Tensor, z: Tensor, encoder: EncodingGenerator, optimiser: LBFGS | Adam
) -> tuple[Tensor, Tensor]:
    """Lower J(x, .): the encoder's proposal where that does, else some steps from z."""
    f, proposal = J.given_image(x), encoder.encode(x).mean
    taken = f(proposal) < f(z)
    z = torch.where(per_image(taken, z), proposal, z)
    if not taken.all():
        rest = replace(f, y=f.y[~taken])
        z[~taken] = minimise(rest, z[~taken], optimiser).z
    return z, taken


def _rms(x: Tensor) -> Float[Tensor, " n"]:
    """Root mean square of each image or latent."""
    return x.flatten(1).square().mean(1).sqrt()
