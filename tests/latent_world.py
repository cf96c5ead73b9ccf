"""Generators and operators of twenty pixels, shared by the tests of inference over latents."""

import torch
from torch import nn

from course_lib.inference.latent import Pushforward
from course_lib.models import linear_vae
from course_lib.operators import (
    Blur,
    CompressedSensing,
    Denoising,
    GaussianNoise,
    Inpainting,
    PhaseRetrieval,
    gaussian_kernel,
)
from course_lib.rng import generator_from

IMG, N, K = (1, 4, 5), 20, 3  # one image, its pixels, latents
SIGMA, STD = 0.2, 0.3  # of the noise, and of images about the range of G
NOISE = GaussianNoise(SIGMA)
MASK = torch.arange(N).view(IMG) % 3 > 0
OPERATORS = {
    "denoising": Denoising(IMG, NOISE),
    "inpainting": Inpainting(MASK, NOISE),
    "blur": Blur(gaussian_kernel(std=0.8, size=3, dtype=torch.float64), IMG, NOISE),
    "sensing": CompressedSensing(8, IMG, generator_from(4), noise_model=NOISE, dtype=torch.float64),
}
PHASE = PhaseRetrieval(15, IMG, generator_from(7), dtype=torch.float64)


def exact_vae(std=STD):
    """A linear VAE whose encoder is the exact posterior mean for x given z ~ N(G(z), std^2 I)."""
    vae = linear_vae(latent_dim=K, img_size=IMG).double().eval().requires_grad_(False)
    W = torch.randn(N, K, generator=generator_from(0), dtype=torch.float64)
    c = torch.rand(N, generator=generator_from(1), dtype=torch.float64)
    V = torch.linalg.solve(W.T @ W + std**2 * torch.eye(K, dtype=torch.float64), W.T)
    vae.decoder[0].weight.copy_(W)
    vae.decoder[0].bias.copy_(c)
    vae.encoder.mean.weight.copy_(V)
    vae.encoder.mean.bias.copy_(-V @ c)
    vae.noise_std.fill_(std)
    return vae


class Bent(nn.Module):
    """A smooth generator that is not linear, with the transposed map for an encoder."""

    noise_std = STD

    def __init__(self):
        super().__init__()
        g = generator_from(2)
        self.first = nn.Parameter(torch.randn(K, 12, generator=g, dtype=torch.float64))
        self.second = nn.Parameter(torch.randn(12, N, generator=g, dtype=torch.float64) / 3)
        self.eval()

    def forward(self, z):
        return (torch.tanh(z @ self.first) @ self.second).unflatten(1, IMG)

    def decode(self, z):
        return Pushforward(self, (K,)).decode(z)

    def prior(self, n, *, generator):
        return Pushforward(self, (K,)).prior(n, generator=generator)

    def encode(self, x):
        return Pushforward(lambda x: x.flatten(1) @ self.second.T @ self.first.T / 9, ()).decode(x)


def draw(*shape, seed):
    """Standard normal numbers in float64."""
    return torch.randn(*shape, generator=generator_from(seed), dtype=torch.float64)


def measurements(op, n=3):
    x = torch.rand(n, *IMG, generator=generator_from(5), dtype=torch.float64)
    return op(x, generator=generator_from(6))


def linear_parts(vae):
    """W and c of G(z) = W z + c."""
    return vae.decoder[0].weight, vae.decoder[0].bias


def posterior_mean(A, y, mean, covariance):
    """E[x | y] for x ~ N(mean, covariance), by the dense Kalman formula; mean (n,) or (B, n)."""
    S = A @ covariance @ A.T + SIGMA**2 * torch.eye(len(A), dtype=torch.float64)
    residual = y.flatten(1) - mean @ A.T
    return (mean + torch.linalg.solve(S, residual.T).T @ A @ covariance).view(-1, *IMG)
