"""Variational autoencoders: a prior on latents, a decoder, and an encoder that inverts it."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.distributions import Normal, kl_divergence

from course_lib.batch import total
from course_lib.models.blocks import at_least_float32, check_multiple, check_shape
from course_lib.rng import check_generator, normal_like

LOG_STD_RANGE = (-6.0, 2.0)  # of q(z | x): the prior has 0; wider ranges only feed rounding errors


class Elbo(NamedTuple):
    """The two prices of describing x through z, in nats per image; the ELBO is minus their sum."""

    distortion: Float[Tensor, " batch"]  # -E_q log p(x | z)
    rate: Float[Tensor, " batch"]  # KL(q(z | x) || p(z))

    @property
    def value(self) -> Float[Tensor, " batch"]:
        """A lower bound of log p(x), nats per image."""
        return -(self.distortion + self.rate)


class VAE(nn.Module):
    """p(x, z) = N(z; 0, I) N(x; G(z), s^2 I) and q(z | x) = N(z; m(x), diag a(x)^2).

    Args:
        encoder: image (B, C, H, W) to (B, 2 d, ...): means and log standard deviations of q.
        decoder: latent (B, d, ...) to image (B, C, H, W).
        latent_shape: shape of one latent, for an image of `img_size`.
        img_size: (C, H, W) of one training image.
        noise_std: s, in units of the image range [0, 1]; a buffer, which training moves to the
            root mean square error of reconstruction, the maximum of the ELBO over s, unless a
            larger one is asked for.

    Source: Kingma & Welling 2014, arXiv:1312.6114; for s, Rybkin, Daniilidis & Levine 2021,
    arXiv:2006.13202.
    """

    noise_std: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        latent_shape: tuple[int, ...],
        img_size: tuple[int, int, int],
        noise_std: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        c, h, w = img_size
        self.latent_shape, self.img_size = tuple(latent_shape), (c, h, w)
        self.register_buffer("noise_std", torch.tensor(float(noise_std)))

    def encode(self, x: Float[Tensor, "b c h w"]) -> Normal:
        """q(z | x).

        Raises:
            ValueError: an image that the encoder was not made for.
        """
        self._check(x)
        mean, log_std = at_least_float32(self.encoder(x)).chunk(2, dim=1)
        return gaussian(mean, log_std.clamp(*LOG_STD_RANGE).exp())

    def decode(self, z: Tensor) -> Normal:
        """p(x | z)."""
        mean = self.decoder(z)
        return gaussian(mean, self.noise_std.to(mean.dtype))

    def elbo(self, x: Float[Tensor, "b c h w"], *, generator: Generator) -> Elbo:
        """One draw of z ~ q(z | x) by reparameterisation, z = m + sqrt(v) e; the rate is exact."""
        check_generator("VAE.elbo", generator)
        q = self.encode(x)
        z = reparameterise(q, generator)
        return Elbo(-total(self.decode(z).log_prob(x)), rate(q))

    def importance_bound(
        self, x: Float[Tensor, "b c h w"], n_samples: int, *, generator: Generator
    ) -> Float[Tensor, " batch"]:
        """E log (1/K) sum_k p(x, z_k) / q(z_k | x), nats per image: rises with K to log p(x).

        Source: Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519.
        """
        check_generator("VAE.importance_bound", generator)
        q = self.encode(x)
        log_weights = []
        for _ in range(n_samples):
            z = reparameterise(q, generator)
            joint = total(self.decode(z).log_prob(x)) + total(standard_normal(z).log_prob(z))
            log_weights.append(joint - total(q.log_prob(z)))
        return torch.stack(log_weights).logsumexp(0) - math.log(n_samples)

    def prior(
        self, n: int, *, generator: Generator, img_size: tuple[int, int] | None = None
    ) -> Tensor:
        """n latents from N(0, I), for the training size or, if convolutional, another (H, W).

        Raises:
            ValueError: a size that the decoder cannot draw.
        """
        shape = self.latent_shape
        if img_size is not None:
            self._check(torch.empty(0, self.img_size[0], *img_size))
            if len(shape) == 3:
                stride = self.img_size[1] // shape[1]
                shape = (shape[0], *(side // stride for side in img_size))
        like = next(self.decoder.parameters())
        return normal_like(like.new_empty(n, *shape), generator)

    def sample(
        self, n: int, *, generator: Generator, img_size: tuple[int, int] | None = None
    ) -> Float[Tensor, "n c h w"]:
        """Means of p(x | z) at n latents drawn from the prior (no grain of size s is added)."""
        return self.decode(self.prior(n, generator=generator, img_size=img_size)).mean

    def reconstruct(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """G(m(x)): the decoded posterior mean, nearly the projection on what G can draw."""
        return self.decode(self.encode(x).mean).mean

    def active_latents(self, x: Float[Tensor, "b c h w"]) -> int:
        """Number of latents whose posterior mean varies with the image: variance > 0.01.

        Source: Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, section 5.2.
        """
        return int((self.encode(x).mean.flatten(1).var(0) > 0.01).sum())

    def _check(self, x: Tensor) -> None:
        check_shape("VAE", x, (self.img_size[0], "H", "W"))
        if len(self.latent_shape) == 3:
            check_multiple("VAE", x, self.img_size[1] // self.latent_shape[1])
        elif x.shape[1:] != self.img_size:
            raise ValueError(
                f"VAE: this model has one latent vector for images of {self.img_size}, got "
                f"{tuple(x.shape[1:])}. Resize the image, or take a convolutional VAE."
            )


def reparameterise(q: Normal, generator: Generator) -> Tensor:
    """z = mean + std e with e ~ N(0, I): a draw through which gradients reach mean and std."""
    return q.mean + q.stddev * normal_like(q.mean, generator)


def rate(q: Normal) -> Float[Tensor, " batch"]:
    """KL(q || N(0, I)), nats per image."""
    return total(kl_divergence(q, standard_normal(q.mean)))


def standard_normal(like: Tensor) -> Normal:
    """N(0, I) with the shape of a latent."""
    return gaussian(torch.zeros_like(like), torch.ones_like(like))


def gaussian(mean: Tensor, std: Tensor) -> Normal:
    """A Normal that lets a NaN through to the loss, where training skips the step."""
    return Normal(mean, std, validate_args=False)
