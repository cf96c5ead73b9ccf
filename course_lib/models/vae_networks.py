"""Encoders and decoders of VAEs: convolutional, with one latent vector, and affine."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.models.blocks import decoder, encoder
from course_lib.models.vae import VAE


def conv_vae(
    *,
    channels: Sequence[int] = (32, 64, 96),
    latent_channels: int = 16,
    blocks: int = 2,
    tail: int = 16,
    img_size: tuple[int, int, int] = (1, 64, 64),
) -> VAE:
    """Fully convolutional: latents are maps at 1 / 2^len(channels) of the image's resolution.

    Images of any multiple of 2^len(channels) pixels go in. Each latent sees a neighbourhood, so
    the prior knows what patches look like and nothing about how they fit together.
    """
    c, height, width = img_size
    stride = 2 ** len(channels)
    return VAE(
        encoder(channels, 2 * latent_channels, blocks=blocks, inputs=c),
        decoder(channels, latent_channels, blocks=blocks, outputs=c, tail=tail),
        latent_shape=(latent_channels, height // stride, width // stride),
        img_size=img_size,
    )


def compact_vae(
    *,
    channels: Sequence[int] = (32, 64, 96),
    latent_dim: int = 64,
    width: int = 256,
    blocks: int = 2,
    tail: int = 16,
    img_size: tuple[int, int, int] = (1, 64, 64),
) -> VAE:
    """One latent vector for the whole image: a prior that knows how the parts fit together."""
    c, h, w = img_size
    stride, maps = 2 ** len(channels), 32
    grid = (maps, h // stride, w // stride)
    n = math.prod(grid)
    to_vector = [nn.SiLU(), nn.Flatten(), nn.Linear(n, width), nn.SiLU()]
    to_maps = [nn.SiLU(), nn.Linear(width, n), nn.Unflatten(1, grid)]
    return VAE(
        nn.Sequential(
            encoder(channels, maps, blocks=blocks, inputs=c),
            *to_vector,
            nn.Linear(width, 2 * latent_dim),
        ),
        nn.Sequential(
            nn.Linear(latent_dim, width),
            *to_maps,
            decoder(channels, maps, blocks=blocks, outputs=c, tail=tail),
        ),
        latent_shape=(latent_dim,),
        img_size=img_size,
    )


class LinearEncoder(nn.Module):
    """q(z | x) = N(V (x - b), diag exp(2 l)), with the same variances for every x."""

    def __init__(self, n: int, latent_dim: int) -> None:
        super().__init__()
        self.mean = nn.Linear(n, latent_dim)
        self.log_std = nn.Parameter(torch.zeros(latent_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Means and log standard deviations, (B, 2 d)."""
        mean = self.mean(x.flatten(1))
        return torch.cat([mean, self.log_std.expand_as(mean)], dim=1)


def linear_vae(*, latent_dim: int, img_size: tuple[int, int, int]) -> VAE:
    """Everything affine: probabilistic principal components, whose best ELBO is known.

    Source: Tipping & Bishop 1999, doi:10.1111/1467-9868.00196; Lucas et al. 2019,
    arXiv:1911.02469.
    """
    n = math.prod(img_size)
    return VAE(
        LinearEncoder(n, latent_dim),
        nn.Sequential(nn.Linear(latent_dim, n), nn.Unflatten(1, tuple(img_size))),
        latent_shape=(latent_dim,),
        img_size=img_size,
    )
