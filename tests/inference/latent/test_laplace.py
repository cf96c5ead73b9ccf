"""The Gaussian at the peak is the posterior itself where the decoder is linear."""

import pytest
import torch
from torch.distributions import Normal

from course_lib.exact import LinearGaussian, matrix_of
from course_lib.inference.latent import LatentEnergy, MarginalPosterior, laplace
from course_lib.operators import (
    Blur,
    CompressedSensing,
    Inpainting,
    PhaseRetrieval,
    gaussian_kernel,
)
from course_lib.rng import generator_from

IMG, N, K = (1, 4, 6), 24, 3
SIGMA, STD = 0.2, 0.3
OPERATORS = [
    Inpainting(torch.arange(N).view(IMG) % 3 > 0),
    Blur(gaussian_kernel(std=0.8, size=3, dtype=torch.float64), IMG),
    CompressedSensing(8, IMG, generator_from(4), dtype=torch.float64),
]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=generator_from(seed), dtype=torch.float64)


class Decoder:
    """Means z W^T + bend tanh(z V^T) for latents of shape (3, 1)."""

    def __init__(self, bend=0.0):
        self.W, self.V, self.bend = draw(N, K, seed=1), draw(N, K, seed=2), bend

    def decode(self, z):
        z = z.flatten(1)
        mean = z @ self.W.T + self.bend * torch.tanh(z @ self.V.T)
        return Normal(mean.unflatten(1, IMG), STD)

    def prior(self, n, *, generator):
        return torch.randn(n, K, 1, generator=generator, dtype=torch.float64)


def measured(op, n=2):
    return draw(n, *op.measurement_size, seed=4)


@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: type(op).__name__)
@pytest.mark.parametrize("std", [STD, 0.0])
def test_linear_decoder(op, std):
    """root root^T is the posterior covariance of z; with std = 0, that for x = G(z)."""
    z, y = draw(2, K, 1, seed=3), measured(op)
    f = LatentEnergy(Decoder(), op, y, SIGMA)
    if std:
        f = MarginalPosterior(Decoder(), op, y, SIGMA, std=std)
    found = laplace(f, z, batch=4)
    L = torch.eye(N, dtype=torch.float64) / (std or 1e-6)
    model = LinearGaussian(Decoder().W, torch.zeros(N).double(), L, matrix_of(op), SIGMA)
    exact = model.posterior(y.flatten(1)).z.covariance
    for root in found.root:
        torch.testing.assert_close(root @ root.T, exact, rtol=0, atol=1e-9)  # eps / h is 4e-11
    assert found.mode is z


def test_bent_decoder_has_its_own_curvature():
    """w I + J^T J / sigma^2 with J by torch's reverse mode, at each z."""
    op, z = PhaseRetrieval(15, IMG, generator_from(7), dtype=torch.float64), draw(2, K, 1, seed=3)
    found = laplace(LatentEnergy(Decoder(0.5), op, measured(op), SIGMA, weight=0.7), z)
    for at, root in zip(z, found.root, strict=True):
        J = torch.autograd.functional.jacobian(
            lambda v: op.A(Decoder(0.5).decode(v.view(1, K, 1)).mean)[0], at.flatten()
        )
        exact = torch.linalg.inv(0.7 * torch.eye(K).double() + J.T @ J / SIGMA**2)
        torch.testing.assert_close(root @ root.T, exact, rtol=0, atol=1e-9)  # h^2 is 4e-11


def test_coordinates():
    f = MarginalPosterior(Decoder(), OPERATORS[1], measured(OPERATORS[1]), SIGMA, std=STD)
    found = laplace(f, draw(2, K, 1, seed=3))
    w = draw(5, 4, 2, K)
    z = found.colour(w)
    assert z.shape == (5, 4, 2, K, 1)
    torch.testing.assert_close(found.whiten(z), w)
    torch.testing.assert_close(found.colour(torch.zeros(2, K).double()), found.mode)
    one = found.mode[1].flatten() + found.root[1] @ w[3, 2, 1]
    torch.testing.assert_close(z[3, 2, 1].flatten(), one)
