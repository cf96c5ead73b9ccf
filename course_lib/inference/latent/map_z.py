"""Inversion of a generator: the most probable latent, given a measurement."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from course_lib.inference.latent.energy import LatentEnergy, noise_sigma
from course_lib.inference.latent.generator import LatentGenerator
from course_lib.inference.latent.start import Starts
from course_lib.operators import Operator
from course_lib.solvers import LBFGS, Adam, Solution, minimise
from course_lib.solvers.solution import status_of
from course_lib.validation import check_measurement


@dataclass(frozen=True, kw_only=True)
class LatentSolution(Solution):
    """A Solution whose image comes with a latent.

    Attributes:
        z: the best latent of each image, (B, ...).
        objective: its objective, (B,).
        all_z: where each of the R starts led, (B, R, ...).
        all_objective: (B, R).
    """

    z: Tensor
    objective: Float[Tensor, " b"]
    all_z: Tensor
    all_objective: Float[Tensor, "b r"]


def map_z(
    model: LatentGenerator,
    op: Operator,
    y: Tensor,
    *,
    sigma: float | None = None,
    latent_weight: float = 1.0,
    starts: Starts = Starts(),
    optimiser: LBFGS | Adam = LBFGS(),
    generator: Generator | None = None,
) -> LatentSolution:
    """Minimise |A G(z) - y|^2 / (2 sigma^2) + w / 2 |z|^2 over z, from several starts at once.

    All images and starts go through the generator as one batch, each on its own way. The drawn
    starts are the same for every image, so that its answer does not depend on its neighbours.

    Args:
        model: G(z) is model.decode(z).mean: a VAE, or a `Pushforward`; in evaluation mode.
        op: any operator, linear or not.
        y: measurements (B, *op.measurement_size).
        sigma: standard deviation of the noise; that of op.noise_model by default.
        latent_weight: w; 1 is Bayes' rule, see `bora_weight` for another convention. With 0 it is
            a projection on the range of G, whatever sigma.
        starts: R starts of each image; the encoder's guess and draws from the prior by default.
        optimiser: `LBFGS`, or `Adam`, the published choice.
        generator: source of the drawn starts.

    Returns:
        LatentSolution with x = G(z) at the least objective seen, and history "objective":
        (rows, B, R), one row per step and one for the start. "converged" is said of the best
        starts; "diverged" if an image has no finite objective at all.

    Raises:
        ValueError: no sigma, a model in training mode or without encoder, shapes that do not fit,
            an option out of its range.
        TypeError: starts to draw and no torch.Generator.

    Source: Bora et al. 2017, arXiv:1703.03208.
    """
    check_measurement("map_z", op, y)
    sigma = noise_sigma("map_z", op, sigma)
    batch = (len(y), starts.n)
    f = LatentEnergy(model, op, y.repeat_interleave(starts.n, 0), sigma, latent_weight)
    z0 = starts.draw(model, op, y, sigma=sigma, generator=generator)
    end = minimise(f, z0.flatten(0, 1), optimiser)

    all_z, all_objective = end.z.unflatten(0, batch), end.value.view(batch)
    images = torch.arange(len(y), device=y.device)
    best = images, all_objective.nan_to_num(nan=math.inf).argmin(1)
    z, objective = all_z[best], all_objective[best]
    with torch.no_grad():
        x = f.image(z)
    return LatentSolution(
        x,
        status_of(end.converged.view(batch)[best], ~objective.isfinite()),
        {"objective": end.history.unflatten(1, batch)},
        len(end.history) - 1,
        z=z,
        objective=objective,
        all_z=all_z,
        all_objective=all_objective,
    )
