r"""The periodic gradient of an image, its adjoint, and the Fourier symbol of -Laplacian."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.fourier import frequencies


def gradient(u: Float[Tensor, "*batch h w"]) -> Float[Tensor, "2 *batch h w"]:
    """Forward differences down the rows and along the columns, periodic."""
    return torch.stack((u.roll(-1, -2) - u, u.roll(-1, -1) - u))


def gradient_adjoint(p: Float[Tensor, "2 *batch h w"]) -> Float[Tensor, "*batch h w"]:
    """The adjoint of `gradient`, that is minus the divergence: backward differences."""
    return p[0].roll(1, -2) - p[0] + p[1].roll(1, -1) - p[1]


def laplacian(u: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h w"]:
    """The five-point Laplacian, -gradient_adjoint(gradient(u)), periodic."""
    neighbours = u.roll(1, -2) + u.roll(-1, -2) + u.roll(1, -1) + u.roll(-1, -1)
    return neighbours - 4 * u


def laplacian_symbol(size: tuple[int, int]) -> Float[Tensor, "h w2"]:
    r"""Fourier symbol of -Laplacian, 4 (sin^2(pi f1) + sin^2(pi f2)), on the half spectrum.

    It is the multiplier, not the kernel (erratum E26); its maximum is 8 exactly when both sides
    are even, and it vanishes only at frequency 0.
    """
    rows, columns = frequencies(size)
    return 4 * ((math.pi * rows).sin().square() + (math.pi * columns).sin().square())
