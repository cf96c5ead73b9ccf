"""The image between a generator and a measurement, exactly."""

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.inference.latent.energy import LatentEnergy, model_std, noise_sigma
from course_lib.inference.latent.generator import LatentGenerator
from course_lib.operators import Operator
from course_lib.validation import check_linear


@torch.no_grad()
def conditional_mean(
    model: LatentGenerator,
    op: Operator,
    y: Tensor,
    z: Tensor,
    *,
    sigma: float | None = None,
    std: float | None = None,
) -> Float[Tensor, "b c h w"]:
    """E[x | z, y] = argmin_x |A x - y|^2 / (2 sigma^2) + |x - G(z)|^2 / (2 std^2), exactly.

    Seen pixels go towards y, unseen ones stay with the generator.

    Args:
        model: G(z) is model.decode(z).mean; in evaluation mode.
        op: a linear operator.
        y: (B, *op.measurement_size).
        z: latents (B, ...).
        sigma: standard deviation of the noise; that of op.noise_model by default.
        std: of x given z, which is N(G(z), std^2 I); model.noise_std by default.

    Raises:
        ValueError: no sigma or std, or shapes that do not fit.
        TypeError: an operator that is not linear: then x given z and y is not Gaussian.
    """
    remedy = "No closed form for the image: use map_z from the prior, or give x0."
    linear = check_linear("conditional_mean", op, remedy)
    sigma = noise_sigma("conditional_mean", op, sigma)
    std = model_std("conditional_mean", model, std)
    if len(z) != len(y):
        raise ValueError(
            f"conditional_mean: expected a latent for each measurement, got {len(z)} for {len(y)}."
        )
    x = LatentEnergy(model, op, y, sigma).image(z)
    return linear.prox_l2(x, y, (std / sigma) ** 2)
