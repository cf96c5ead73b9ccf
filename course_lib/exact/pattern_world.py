"""A linear-Gaussian world of 8 x 8 pixels: six smooth patterns, banded noise, three operators."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from course_lib.exact.linear_gaussian import LinearGaussian, matrix_of
from course_lib.kernels.banded_cholesky import BandedCholesky
from course_lib.operators import Blur, CompressedSensing, Inpainting, gaussian_kernel
from course_lib.rng import generator_from, normal_like

Measurement = Literal["inpaint", "deblur", "sensing"]
NOISE = 0.03  # standard deviation of the noise of every measurement


def pattern_world(measurement: Measurement) -> LinearGaussian:
    """z -> x = W z + c with smooth columns of W, x given z with a banded precision factor L.

    Args:
        measurement: "inpaint" sees half of the pixels, "deblur" has a Gaussian blur of one pixel,
            "sensing" has 32 Gaussian rows.
    """
    size, generator = (1, 8, 8), generator_from(3)
    rough = torch.randn(7, *size, generator=generator, dtype=torch.float64)
    smooth = Blur(gaussian_kernel(1.5, 7, torch.float64), size).A(rough).flatten(1)
    smooth = smooth / smooth.std(1, keepdim=True)
    diagonal = torch.full((1, 1, 8, 8), 30.0, dtype=torch.float64)
    L = BandedCholesky(diagonal, torch.full((1, 4, 8, 8), -5.0, dtype=torch.float64), 1)
    order = torch.randperm(64, generator=generator)
    op = {
        "inpaint": Inpainting((order < 32).double().view(size)),
        "deblur": Blur(gaussian_kernel(1.0, 7, torch.float64), size),
        "sensing": CompressedSensing(32, size, generator_from(4), dtype=torch.float64),
    }[measurement]
    W, c = 0.1 * smooth[:6].T, 0.5 + 0.1 * smooth[6]
    return LinearGaussian(W, c, L.dense()[0], matrix_of(op), NOISE)


def draw_measurements(
    world: LinearGaussian, n: int, *, generator: Generator
) -> Float[Tensor, "n m"]:
    """n draws of y = A x + noise, for images x drawn from the prior of the world."""
    x = world.prior.x
    root = torch.linalg.cholesky(x.covariance)
    eps = normal_like(torch.empty(n, len(root), dtype=torch.float64), generator)
    clean = (x.mean[0] + eps @ root.T) @ world.A.T
    return clean + world.sigma * normal_like(clean, generator)
