"""A signal, a kernel and a prior for which blind deconvolution is stable: Theorem 1 in numbers."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.exact.empirical_mixture import EmpiricalMixture
from course_lib.operators import Blur
from course_lib.rng import generator_from


class FavourableSignal(NamedTuple):
    """A critical point x of -log p_sigma, a kernel in the simplex, and y = h * x.

    Attributes:
        prior: a mixture of three Gaussians, one of which is centred near x.
        sigma: their standard deviation.
        x: a signal with D(x, sigma) = x, so that the gradient of -log p_sigma vanishes there.
        kernel: five positive taps of sum 1.
        y: h * x, without noise.
    """

    prior: EmpiricalMixture
    sigma: float
    x: Float[Tensor, "1 1 1 n"]
    kernel: Float[Tensor, "1 1 1 k"]
    y: Float[Tensor, "1 1 1 n"]


def favourable_signal(n: int = 24, sigma: float = 0.1) -> FavourableSignal:
    """The example of chapter 14, with n samples in float64."""
    centres = torch.rand(3, 1, 1, n, generator=generator_from(6), dtype=torch.float64)
    prior, x = EmpiricalMixture(centres), centres[:1]
    for _ in range(100):
        x = prior(x, sigma)  # gradient descent on -log p_sigma with the step sigma^2
    kernel = torch.tensor([[[[0.1, 0.4, 0.3, 0.15, 0.05]]]], dtype=torch.float64)
    return FavourableSignal(prior, sigma, x, kernel, Blur(kernel, (1, 1, n)).A(x))
