"""Starts of map_z: the encoder's guess, given latents, draws from the prior."""

import pytest
import torch
from latent_world import (
    IMG,
    OPERATORS,
    SIGMA,
    Bent,
    K,
    N,
    linear_parts,
    measurements,
    posterior_mean,
)

from course_lib.exact import matrix_of
from course_lib.finite_differences import laplacian
from course_lib.inference.latent import Pushforward, Starts, first_guess, map_z
from course_lib.inference.latent.start import GRADIENT_STD, smooth_guess
from course_lib.operators import Blur, Inpainting, gaussian_kernel
from course_lib.rng import generator_from


def drawn(linear, starts, generator=None):
    op = OPERATORS["denoising"]
    return starts.draw(linear, op, measurements(op), sigma=SIGMA, generator=generator)


def test_first_start_and_draws_that_all_images_share(linear):
    op = OPERATORS["denoising"]
    x = torch.rand(3, *IMG, generator=generator_from(15), dtype=torch.float64)
    given = torch.ones(3, K).double()
    prior = linear.prior(2, generator=generator_from(16)).double()
    for first, starts in (
        (linear.encode(x).mean, Starts(3, x0=x)),
        (linear.encode(first_guess(linear, op, measurements(op))).mean, Starts(3)),
        (given, Starts(3, given)),
    ):
        z = drawn(linear, starts, generator_from(16))
        torch.testing.assert_close(z[:, 0], first, rtol=0, atol=0)
        torch.testing.assert_close(z[:, 1:], prior.expand(3, 2, K), rtol=0, atol=0)
    only_drawn = drawn(linear, Starts(3, "prior"), generator_from(16))
    prior = linear.prior(3, generator=generator_from(16)).double()
    torch.testing.assert_close(only_drawn, prior.expand(3, 3, K), rtol=0, atol=0)


def test_without_draws_no_generator_is_needed(linear):
    op = OPERATORS["denoising"]
    assert map_z(linear, op, measurements(op), starts=Starts(1)).all_z.shape == (3, 1, K)
    for starts in (Starts(2), Starts(1, "prior"), Starts(2, torch.zeros(3, K).double())):
        with pytest.raises(TypeError, match=r"map_z: expected a torch.Generator"):
            drawn(linear, starts)


def test_first_guess_is_a_gaussian_posterior(linear, op):
    y = measurements(op)
    covariance = torch.eye(N, dtype=torch.float64) / 16
    mean = linear_parts(linear)[1]  # G(0)
    exact = posterior_mean(matrix_of(op), y, mean, covariance)
    torch.testing.assert_close(first_guess(linear, op, y), exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first": torch.zeros(3, K + 1)}, r"first latents of shape \(3, 3\)"),
        ({"first": torch.zeros(2, K)}, r"first latents of shape \(3, 3\)"),
        ({"x0": torch.zeros(3, 1, 4, 4)}, r"images to encode of shape \(3, 1, 4, 5\)"),
    ],
)
def test_shapes_that_do_not_fit(linear, options, message):
    with pytest.raises(ValueError, match=message):
        drawn(linear, Starts(**options), generator_from(0))


def test_refusals():
    with pytest.raises(ValueError, match="n >= 1, got 0"):
        Starts(0)
    with pytest.raises((ValueError, TypeError), match=r"'encoder'.*'prior'"):
        Starts(first="zero")
    with pytest.raises(ValueError, match=r"no encoder.*Starts\(first='prior'\)"):
        drawn(Pushforward(Bent(), (K,)), Starts(), generator_from(0))


@pytest.mark.parametrize(
    "op",
    [
        Blur(gaussian_kernel(1.0, 3).double(), (1, 6, 8)),
        Inpainting((torch.rand(1, 6, 8, generator=generator_from(9)) < 0.5).double()),
    ],
    ids=["blur", "inpainting"],
)
def test_smooth_guess_is_a_gaussian_posterior(op):
    """Of x with p(x) ~ exp(-|grad x|^2 / (2 GRADIENT_STD^2)), by a dense solve."""
    A, y = matrix_of(op), torch.rand(2, 1, 6, 8, generator=generator_from(1), dtype=torch.float64)
    y = op.A(y)
    eye = torch.eye(48, dtype=torch.float64).view(48, 1, 6, 8)
    minus_laplacian = -laplacian(eye).view(48, 48)
    sigma = 0.02
    precision = A.T @ A / sigma**2 + minus_laplacian / GRADIENT_STD**2
    exact = torch.linalg.solve(precision, A.T @ y.flatten(1).T / sigma**2).T
    # Conjugate gradients stop at a residual of 1e-4, times the condition number, below 100.
    found = smooth_guess(op, y, sigma=sigma).flatten(1)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-2)
