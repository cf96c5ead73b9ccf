"""E[x | z, y] against dense algebra."""

import pytest
import torch
from latent_world import (
    MASK,
    OPERATORS,
    PHASE,
    STD,
    Bent,
    K,
    N,
    draw,
    measurements,
    posterior_mean,
)

from course_lib.exact import matrix_of
from course_lib.inference.latent import Pushforward, conditional_mean
from course_lib.operators import Inpainting


def test_conditional_mean_is_the_gaussian_posterior(linear, op):
    y, z = measurements(op), draw(3, K, seed=14)
    mean = linear.decode(z).mean
    covariance = STD**2 * torch.eye(N, dtype=torch.float64)
    x = conditional_mean(linear, op, y, z)
    exact = posterior_mean(matrix_of(op), y, mean.flatten(1), covariance)
    torch.testing.assert_close(x, exact, rtol=0, atol=1e-12)
    if isinstance(op, Inpainting):
        torch.testing.assert_close(x[:, ~MASK], mean[:, ~MASK], rtol=0, atol=0)


def test_bad_input(linear):
    op, z = OPERATORS["denoising"], torch.zeros(3, K).double()
    y = measurements(op)
    with pytest.raises(ValueError, match="no noise_std"):
        conditional_mean(Pushforward(Bent(), (K,)), op, y, z)
    with pytest.raises(ValueError, match="got 1 for 3"):
        conditional_mean(linear, op, y, z[:1])
    with pytest.raises(TypeError, match="conditional_mean: PhaseRetrieval is not linear"):
        conditional_mean(linear, PHASE, PHASE.A(y), z, sigma=0.1)
