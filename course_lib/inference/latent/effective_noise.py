"""The noise of a measurement together with the error of a generator."""

import math

import torch

from course_lib.operators import LinearOperator
from course_lib.rng import generator_from, normal_like

PROBES = 987_654_321  # seed of the probes: no operator of the course has it for its rows


def effective_noise(op: LinearOperator, sigma: float, std: float) -> float:
    """Root mean square of y - A G(z) = A (x - G(z)) + noise, for one measurement.

    If x - G(z) is white with standard deviation s, the covariance is sigma^2 I + s^2 A A^T, whose
    mean diagonal is sigma^2 + s^2 |A|_F^2 / m. With N(0, I) draws e, |A|_F^2 = E |A e|^2.

    Args:
        op: linear operator.
        sigma: standard deviation of the noise of the sensor.
        std: s, standard deviation of images about the range of the generator.
    """
    e = normal_like(torch.empty(64, *op.img_size), generator_from(PROBES))
    return math.sqrt(sigma**2 + std**2 * op.A(e).square().mean().item())
