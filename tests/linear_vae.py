"""A VAE whose posterior is known: a linear decoder with banded noise, draws with exact means."""

import math

import torch
from torch.distributions import Normal

from course_lib.exact import LinearGaussian, matrix_of
from course_lib.inference.vble.objective import Objective
from course_lib.kernels.banded_cholesky import BandedCholesky
from course_lib.models.structured_vae import StructuredNormal
from course_lib.operators import Blur, Denoising, GaussianNoise, Inpainting, gaussian_kernel
from course_lib.rng import generator_from, normal_like
from course_lib.solvers import LBFGS

F64 = torch.float64
H, W, K = 4, 5, 3
N = H * W
SIGMA = 0.3


def draw(*shape, seed=0):
    """Standard normal numbers."""
    return torch.randn(*shape, generator=generator_from(seed), dtype=F64)


class LinearVAE:
    """z -> N(V z + c, (L L^T)^-1), or G(z) + the same noise for a curved G; no encoder."""

    def __init__(self, seed=0, bend=0.0):
        self.V, self.c, self.bend = draw(N, K, seed=seed), draw(N, seed=seed + 1), bend
        diagonal = 1.5 + draw(1, 1, H, W, seed=seed + 2).abs()
        self.L = BandedCholesky(diagonal, 0.5 * draw(1, 4, H, W, seed=seed + 3), 1)

    def decode(self, z):
        mean = (z + self.bend * z.square()) @ self.V.T + self.c
        factor = [
            part.expand(len(z), -1, -1, -1).contiguous()
            for part in (self.L.diagonal, self.L.offdiagonal)
        ]
        return StructuredNormal(mean.view(-1, 1, H, W), BandedCholesky(*factor, 1))

    def prior(self, n, *, generator):
        return normal_like(torch.empty(n, K, dtype=F64), generator)

    def reference(self, op):
        return LinearGaussian(self.V, self.c, self.L.dense()[0], matrix_of(op), SIGMA)


class EncodingVAE(LinearVAE):
    """The same with q(z | x) = N(first pixels of x, diag(0.1, 0.2, 0.3)^2)."""

    def encode(self, x):
        mean = x.flatten(1)[:, :K]
        return Normal(mean, torch.tensor([0.1, 0.2, 0.3], dtype=F64).expand_as(mean))


OPERATORS = {
    "denoising": Denoising((1, H, W), GaussianNoise(SIGMA)),
    "blur": Blur(gaussian_kernel(1.0, 3).double(), (1, H, W), GaussianNoise(SIGMA)),
    "inpainting": Inpainting(
        (torch.rand(1, H, W, generator=generator_from(9)) < 0.5).double(), GaussianNoise(SIGMA)
    ),
}


def cubature(batch, *names):
    """Points +-sqrt(n) e_i, whose means of polynomials of degree 3 are those of normal draws."""
    sizes = {"z": (K,), "x": (1, H, W)}
    lengths = [math.prod(sizes[name]) for name in names]
    n = sum(lengths)
    points = math.sqrt(n) * torch.eye(n, dtype=F64)
    parts = torch.cat([points, -points]).split(lengths, dim=1)
    return {
        name: part[:, None].expand(-1, batch, -1).unflatten(2, sizes[name])
        for name, part in zip(names, parts, strict=True)
    }


def exactly(max_iter, step_size=0.1):
    """L-BFGS until the objective does not change."""
    return LBFGS(max_iter, step_size, rtol=torch.finfo(F64).eps)


def value_of(parameters, vae, op, y, eps):
    """Minus the ELBO, the mean over K draws."""
    return Objective(vae, op, y, op.noise_model)(parameters, eps)
