r"""A VAE whose latents have a prior of their own: how strong they are is a latent too.

    p(h) = N(0, I),   p(z | h) = N(mu(h), diag sigma(h)^2),   p(x | z) = N(G(z), (L L^T)^-1).

A photograph is flat here and rough there. With p(z) = N(0, I) a latent that is mostly silent is as
dear as one that always speaks; here a few numbers h for each 16 x 16 pixels say what to expect.
It is the model of learned image compression, with Gaussian q in the place of uniform noise.

Everything nonlinear is a correction: G starts as the inverse of the cosine transform of 8 x 8
blocks, the encoder as that transform, so training begins with the codec of JPEG.

Source: Balle, Minnen, Singh, Hwang & Johnston 2018, arXiv:1802.01436 (scales); Minnen, Balle &
Toderici 2018, arXiv:1809.02736 (means and scales).
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import conv2d, conv_transpose2d, silu

from course_lib.batch import total
from course_lib.models.blocks import (
    ResidualBlock,
    at_least_float32,
    check_multiple,
    check_shape,
    conv,
    scaled,
)
from course_lib.models.structured_vae import PrecisionHead, StructuredNormal
from course_lib.models.vae import (
    LOG_STD_RANGE,
    VAE,
    Elbo,
    gaussian,
    rate,
    reparameterise,
    standard_normal,
)
from course_lib.rng import check_generator, normal_like

BLOCK = 8  # pixels from one latent to the next
UNIT = 0.04  # a latent of 1 in units of [-1, 1]: the noise of 0.02 that training puts on a pixel
LOG_SIGMA = (-4.0, 6.0)  # of p(z | h)


class Rates(NamedTuple):
    """Prices of the two latents, nats per image."""

    h: Float[Tensor, " batch"]  # KL(q(h | x) || p(h))
    z: Float[Tensor, " batch"]  # E KL(q(z | x) || p(z | h))


class Shapes(NamedTuple):
    """Shapes of one image and of its latents."""

    image: tuple[int, int, int]
    z: tuple[int, int, int]
    h: tuple[int, int, int]


def cosine_basis() -> Float[Tensor, "64 1 8 8"]:
    """The orthonormal cosine transform of 8 x 8 blocks, one image a coefficient."""
    k = torch.arange(BLOCK, dtype=torch.float64)
    rows = torch.cos(math.pi * k[:, None] * (k + 0.5) / BLOCK) * math.sqrt(2 / BLOCK)
    rows[0] /= math.sqrt(2)
    return torch.einsum("ui,vj->uvij", rows, rows).reshape(-1, 1, BLOCK, BLOCK).float()


def typical_strength() -> Float[Tensor, "64 1 1"]:
    """About the standard deviation of a coefficient in photographs on [-1, 1], by frequency.

    It only sets the units in which the networks see and correct the coefficients.
    """
    k = torch.arange(BLOCK, dtype=torch.float64)
    r = torch.hypot(k[:, None], k).clamp(min=0.5)
    strength = 0.7 / (r * (1 + (r / 9) ** 2))
    strength[0, 0] = 3.3
    return strength.reshape(-1, 1, 1).float()


class Lapped(nn.Module):
    """Blocks of 16 x 16 pixels that overlap by half; the kernels start as those of 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        quarter = BLOCK // 2
        self.weight = nn.Parameter(nn.functional.pad(cosine_basis(), (quarter,) * 4))

    def analyse(self, x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 64 h8 w8"]:
        """Coefficients of an image."""
        with torch.autocast(x.device.type, enabled=False):  # 8 bits are too few for a photograph
            return conv2d(at_least_float32(x), self.weight, stride=BLOCK, padding=BLOCK // 2)

    def synthesise(self, v: Float[Tensor, "b 64 h8 w8"]) -> Float[Tensor, "b 1 h w"]:
        """The image of coefficients."""
        with torch.autocast(v.device.type, enabled=False):
            return conv_transpose2d(
                at_least_float32(v), self.weight, stride=BLOCK, padding=BLOCK // 2
            )


class Analysis(nn.Module):
    """Encoder of z: means and log standard deviations, the transform plus a network."""

    strength: Tensor

    def __init__(self, middle: int, deep: int) -> None:
        super().__init__()
        self.transform = Lapped()
        self.network = nn.Sequential(
            nn.Conv2d(1, middle, 8, stride=4, padding=2),
            ResidualBlock(middle),
            nn.SiLU(),
            conv(middle, deep, stride=2),
            ResidualBlock(deep),
            ResidualBlock(deep),
            nn.SiLU(),
            scaled(conv(deep, 2 * BLOCK**2, 1), 0.0, 0.0),
        )
        self.register_buffer("strength", typical_strength(), persistent=False)

    def forward(self, x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 128 h8 w8"]:
        """Means, then log standard deviations."""
        x = 2 * x - 1
        correction, log_std = at_least_float32(self.network(x)).chunk(2, dim=1)
        mean = (self.transform.analyse(x) + self.strength * correction) / UNIT
        return torch.cat([mean, log_std], dim=1)


class Synthesis(nn.Module):
    """Decoder: G, the inverse transform plus a network, and the features that L is read from."""

    strength: Tensor

    def __init__(self, fine: int, coarse: int, middle: int, deep: int) -> None:
        super().__init__()
        self.transform = Lapped()
        self.to_coarse = nn.Sequential(
            conv(BLOCK**2, deep),
            ResidualBlock(deep),
            ResidualBlock(deep),
            nn.SiLU(),
            conv(deep, 4 * middle, 1),
            nn.PixelShuffle(2),
            ResidualBlock(middle),
            ResidualBlock(middle),
            nn.SiLU(),
            conv(middle, 4 * coarse, 1),
            nn.PixelShuffle(2),
            ResidualBlock(coarse),
        )
        self.to_fine = nn.Sequential(nn.SiLU(), conv(coarse, 4 * fine, 1), nn.PixelShuffle(2))
        self.last = scaled(conv(fine, 1), 0.0, 0.0)
        self.register_buffer("strength", typical_strength(), persistent=False)

    def features(self, z: Float[Tensor, "b 64 h8 w8"]) -> tuple[Tensor, Tensor, Tensor]:
        """G(z), features at the resolution of the image and at half of it."""
        v = UNIT * z
        coarse = self.to_coarse(v / self.strength)
        fine = silu(self.to_fine(coarse))
        correction = at_least_float32(self.last(fine))
        mean = (self.transform.synthesise(v) + 0.3 * correction + 1) / 2
        return mean, fine, coarse

    def forward(self, z: Float[Tensor, "b 64 h8 w8"]) -> Float[Tensor, "b 1 h w"]:
        """G(z), in [0, 1]."""
        return self.features(z)[0]


class HyperEncoder(nn.Module):
    """From the mean of z to q(h | x): strengths in a neighbourhood."""

    strength: Tensor

    def __init__(self, width: int, hyper_channels: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            conv(2 * BLOCK**2, width),
            ResidualBlock(width),
            nn.SiLU(),
            conv(width, width, 5, stride=2),
            ResidualBlock(width),
            nn.SiLU(),
            conv(width, 2 * hyper_channels, 1),
        )
        self.register_buffer("strength", typical_strength() / UNIT, persistent=False)

    def forward(self, z: Float[Tensor, "b 64 h8 w8"]) -> Tensor:
        """Means and log standard deviations of h."""
        u = z / self.strength
        return self.network(torch.cat([u, (u.abs() + 0.01).log()], dim=1))


class HyperDecoder(nn.Module):
    """From h to p(z | h)."""

    strength: Tensor

    def __init__(self, width: int, hyper_channels: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            conv(hyper_channels, width),
            ResidualBlock(width),
            nn.SiLU(),
            conv(width, 4 * width, 1),
            nn.PixelShuffle(2),
            ResidualBlock(width),
            nn.SiLU(),
            scaled(conv(width, 2 * BLOCK**2, 1), 0.0, 0.0),
        )
        self.register_buffer("strength", typical_strength() / UNIT, persistent=False)

    def forward(self, h: Tensor) -> Normal:
        """p(z | h)."""
        mean, log_ratio = at_least_float32(self.network(h)).chunk(2, dim=1)
        log_sigma = (self.strength.log() + log_ratio).clamp(*LOG_SIGMA)
        return gaussian(self.strength * mean, log_sigma.exp())


class HyperpriorVAE(VAE):
    """p(h) p(z | h) p(x | z) with q(z | x) q(h | x), both Gaussian with free scales.

    Args:
        encoder: image to means and log standard deviations of z.
        decoder: z to G(z); with a head also `features(z)`: G(z) and what the head reads.
        hyper_encoder: from the mean of z to means and log standard deviations of h.
        hyper_decoder: h to p(z | h).
        head: network of L; None for the same noise level s in every pixel.
        shapes: what they are made for.
        noise_std: s, which training holds fixed: it sets the rate.
    """

    decoder: Any
    head: Any

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        hyper_encoder: nn.Module,
        hyper_decoder: nn.Module,
        head: nn.Module | None,
        *,
        shapes: Shapes,
        noise_std: float,
    ) -> None:
        super().__init__(
            encoder, decoder, latent_shape=shapes.z, img_size=shapes.image, noise_std=noise_std
        )
        self.hyper_encoder, self.hyper_decoder, self.head = hyper_encoder, hyper_decoder, head
        self.hyper_shape = shapes.h

    def encode_hyper(self, z: Tensor) -> Normal:
        """q(h | x), from the mean of q(z | x)."""
        mean, log_std = at_least_float32(self.hyper_encoder(z)).chunk(2, dim=1)
        return gaussian(mean, log_std.clamp(*LOG_STD_RANGE).exp())

    def latent_prior(self, h: Tensor) -> Normal:
        """p(z | h)."""
        return self.hyper_decoder(h)

    def decode(self, z: Tensor) -> Any:
        """p(x | z): a `StructuredNormal`, without a head a Normal."""
        if self.head is None:
            return super().decode(z)
        mean, *features = self.decoder.features(z)
        return StructuredNormal(mean, self.head(mean, *features))

    def rates(self, q: Normal, *, generator: Generator) -> Rates:
        """Prices of h and of z, for q(h | x) at the mean of q(z | x) and one draw of h."""
        q_h = self.encode_hyper(q.mean)
        p_z = self.latent_prior(reparameterise(q_h, generator))
        return Rates(rate(q_h), total(kl_divergence(q, p_z)))

    def elbo(self, x: Float[Tensor, "b c h w"], *, generator: Generator) -> Elbo:
        """One draw of h and z; each divergence is exact given what it depends on."""
        check_generator("HyperpriorVAE.elbo", generator)
        q = self.encode(x)
        rates = self.rates(q, generator=generator)
        z = reparameterise(q, generator)
        return Elbo(-total(self.decode(z).log_prob(x)), rates.h + rates.z)

    def importance_bound(
        self, x: Float[Tensor, "b c h w"], n_samples: int, *, generator: Generator
    ) -> Float[Tensor, " batch"]:
        """E log (1/K) sum_k p(x, z_k, h_k) / q(z_k, h_k | x), nats per image."""
        check_generator("HyperpriorVAE.importance_bound", generator)
        q_z = self.encode(x)
        q_h, log_weights = self.encode_hyper(q_z.mean), []
        for _ in range(n_samples):
            h, z = reparameterise(q_h, generator), reparameterise(q_z, generator)
            joint = total(standard_normal(h).log_prob(h)) + total(self.latent_prior(h).log_prob(z))
            joint = joint + total(self.decode(z).log_prob(x))
            log_weights.append(joint - total(q_h.log_prob(h)) - total(q_z.log_prob(z)))
        return torch.stack(log_weights).logsumexp(0) - math.log(n_samples)

    def prior(
        self, n: int, *, generator: Generator, img_size: tuple[int, int] | None = None
    ) -> Tensor:
        """n latents z from p(h) p(z | h), for the training size or another (H, W)."""
        shape = self.hyper_shape
        if img_size is not None:
            self._check(torch.empty(0, self.img_size[0], *img_size))
            shape = (shape[0], *(side // self.stride for side in img_size))
        h = normal_like(next(self.parameters()).new_empty(n, *shape), generator)
        return reparameterise(self.latent_prior(h), generator)

    @property
    def stride(self) -> int:
        """Pixels from one h to the next."""
        return self.img_size[1] // self.hyper_shape[1]

    def _check(self, x: Tensor) -> None:
        check_shape("HyperpriorVAE", x, (self.img_size[0], "H", "W"))
        check_multiple("HyperpriorVAE", x, self.stride)


def hyperprior_vae(
    *,
    noise_std: float,
    radius: int = 2,
    hyper_channels: int = 32,
    hyper_width: int = 96,
    channels: tuple[int, int, int, int] = (16, 32, 64, 128),
    img_size: tuple[int, int, int] = (1, 64, 64),
) -> HyperpriorVAE:
    """Grey images of any multiple of 16 pixels; z has as many numbers as the image.

    Args:
        noise_std: s, of the decoder in training.
        radius: of the neighbourhood in L.
        hyper_channels, hyper_width: of h, and of the networks from and to it.
        channels: of the networks at 1, 1/2, 1/4 and 1/8 of the resolution of the image.
        img_size: (1, H, W) of one training image.
    """
    fine, coarse, middle, deep = channels
    _, height, width = img_size
    return HyperpriorVAE(
        Analysis(middle, deep),
        Synthesis(fine, coarse, middle, deep),
        HyperEncoder(hyper_width, hyper_channels),
        HyperDecoder(hyper_width, hyper_channels),
        PrecisionHead(fine, coarse, radius=radius),
        shapes=Shapes(
            img_size,
            z=(BLOCK**2, height // BLOCK, width // BLOCK),
            h=(hyper_channels, height // (2 * BLOCK), width // (2 * BLOCK)),
        ),
        noise_std=noise_std,
    )
