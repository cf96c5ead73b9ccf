"""With a linear denoiser both schemes have fixed points that closed forms know."""

import math

import pytest
import torch

from course_lib.fourier import filter_image
from course_lib.functionals import LeastSquares, PlugAndPlay, RegularisationByDenoising
from course_lib.operators import Blur, gaussian_kernel
from course_lib.solvers import gradient_descent, proximal_gradient, wiener
from tests.helpers import dense_matrix

SIZE = (1, 6, 8)
N = math.prod(SIZE)
OP = Blur(gaussian_kernel(0.8, 5, torch.float64), SIZE)
SIGMA = 0.2
EIGENVALUES = torch.linspace(1, 0.1, 5, dtype=torch.float64).expand(1, 6, 5)  # of the covariance


def draw(seed, n=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, *SIZE, generator=generator, dtype=torch.float64)


def stationary(x, sigma):
    """E[x | x + sigma w] for a stationary Gaussian law."""
    return filter_image(x, EIGENVALUES / (EIGENVALUES + sigma**2))


@pytest.mark.parametrize("step_size", [1.0, 0.4])
def test_plug_and_play_with_the_wiener_denoiser_ends_at_the_wiener_filter(step_size):
    y = draw(0)
    run = proximal_gradient(
        LeastSquares(OP, y),
        PlugAndPlay(stationary, SIGMA**2),
        y,
        step_size=step_size,
        max_iter=5000,
        rtol=1e-14,
    )
    expected = wiener(OP, y, SIGMA, EIGENVALUES * N).x  # S = E |F x|^2 = N times the eigenvalues
    assert run.status == "converged"
    # a contraction by at least 0.96 a step: the last change of 1e-14 leaves 25 times as much
    torch.testing.assert_close(run.x, expected, rtol=0, atol=1e-11)


def test_regularisation_by_denoising_ends_where_denoiser_and_data_balance():
    y, level, weight = draw(1), 0.5, 0.3
    prior = RegularisationByDenoising(stationary, level, weight)
    run = gradient_descent(LeastSquares(OP, y) + prior, y, max_iter=5000, rtol=1e-14)
    A, D = dense_matrix(OP.A, SIZE), dense_matrix(lambda x: stationary(x, level), SIZE)
    matrix = A.T @ A + weight * (torch.eye(N) - D)
    expected = torch.linalg.solve(matrix, A.T @ y.flatten(1).T).T.reshape(y.shape)
    assert run.status == "converged"
    # condition number below 50 of the matrix, steps of 1 / L: as above
    torch.testing.assert_close(run.x, expected, rtol=0, atol=1e-10)


def test_the_gradient_of_red_is_its_gradient_where_the_jacobian_is_symmetric():
    x = draw(2).requires_grad_()
    prior = RegularisationByDenoising(stationary, 0.5, 0.3)
    (slope,) = torch.autograd.grad(prior(x).sum(), x)
    torch.testing.assert_close(prior.grad(x.detach()), slope)


def test_the_gradient_of_red_is_none_for_a_denoiser_without_symmetry():
    """The equality above is the exception: a shift has a Jacobian that is not symmetric."""
    x = draw(2).requires_grad_()
    prior = RegularisationByDenoising(lambda x, _: 0.9 * x.roll(1, -1), 0.5, 0.3)
    (slope,) = torch.autograd.grad(prior(x).sum(), x)
    assert (prior.grad(x.detach()) - slope).abs().max() > 0.01


def test_the_bound_on_the_curvature_holds():
    prior = RegularisationByDenoising(stationary, 0.5, 0.3)
    curvature = torch.linalg.eigvalsh(dense_matrix(prior.grad, SIZE))
    assert curvature.max() <= prior.lipschitz


def test_a_penalty_without_a_value_says_so():
    assert PlugAndPlay(stationary, 1.0)(draw(3)).isnan().tolist() == [True, True]


@pytest.mark.parametrize("number", [0.0, -1.0, math.inf, math.nan])
def test_refusals(number):
    with pytest.raises(ValueError, match="PlugAndPlay: weight must be a positive number, got"):
        PlugAndPlay(stationary, number)
    with pytest.raises(ValueError, match="weight must be a positive number, got"):
        RegularisationByDenoising(stationary, 0.1, number)
    with pytest.raises(ValueError, match="level must be a positive number, got"):
        RegularisationByDenoising(stationary, number, 0.1)
