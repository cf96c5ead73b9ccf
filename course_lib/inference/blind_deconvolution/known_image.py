"""The kernel, when the image is known: what blind deconvolution can reach at best."""

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.batch import image_sides
from course_lib.inference.blind_deconvolution.kernel_step import (
    KernelObjective,
    KernelSize,
    KernelStep,
    first_kernels,
)
from course_lib.solvers.momentum import Momentum


@torch.no_grad()
def kernel_of_known_image(
    x: Float[Tensor, "b c h w"],
    y: Float[Tensor, "b c h w"],
    kernel_size: KernelSize,
    *,
    ridge: float = 0.0,
    n_steps: int = 1000,
) -> Float[Tensor, "b 1 k l"]:
    """argmin_h 1/2 |h * x - y|^2 + ridge/2 |h|^2 in the simplex, by accelerated projected steps.

    Args:
        x: images before the blur.
        y: blurred images.
        kernel_size: (h, w) or one odd side, in pixels.
        ridge: weight of |h|^2.
        n_steps: number of steps, from a wide Gaussian.
    """
    h = first_kernels("wide", kernel_size, y)
    f, step, ahead = KernelObjective(x, y, image_sides(h), ridge), KernelStep(), Momentum()
    for _ in range(n_steps):
        h = step(f, ahead(h))
    return h
