"""Generative adversarial networks: a map from noise to images, trained against a critic."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn

from course_lib.models.blocks import Centre, Uncentre, at_least_float32, conv
from course_lib.rng import normal_like

SLOPE = 0.2  # of the leaky rectifiers, below zero


class PointMass(NamedTuple):
    """Distribution of an image without randomness."""

    mean: Tensor


class GAN(nn.Module):
    """x = G(z) with z ~ N(0, I), and a discriminator D(x) that tells such images from real ones.

    G has no density that could be evaluated and no encoder: an image is found again in its range
    by optimisation alone.

    Args:
        latent_dim: numbers in one latent.
        channels: channels of G at 4 x 4, 8 x 8, ...: their number gives the side of the image.
        critic_channels: channels of D at 1/2, 1/4, ... of the resolution.
        classes: 0, or the number of labels that both networks are told.
        image_channels: 1 (grey) or 3 (colour).

    Source: Goodfellow et al. 2014, arXiv:1406.2661; Radford, Metz & Chintala 2016,
    arXiv:1511.06434 (convolutional); Mirza & Osindero 2014, arXiv:1411.1784 (labels).
    """

    def __init__(
        self,
        *,
        latent_dim: int = 64,
        channels: Sequence[int] = (256, 128, 64, 32, 16),
        critic_channels: Sequence[int] = (32, 64, 128, 192),
        classes: int = 0,
        image_channels: int = 1,
    ) -> None:
        super().__init__()
        side = 4 * 2 ** (len(channels) - 1)
        self.latent_shape, self.img_size = (latent_dim,), (image_channels, side, side)
        self.classes = classes
        self.generator = GeneratorNetwork(latent_dim, channels, classes, image_channels)
        self.discriminator = Discriminator(side, critic_channels, classes, image_channels)

    def decode(
        self, z: Float[Tensor, "b latent"], label: Int64[Tensor, " batch"] | None = None
    ) -> PointMass:
        """G(z), as a distribution without randomness: what latent inversion asks of any generator.

        Raises:
            ValueError: labels where the model knows none, or none where it needs them.
        """
        self._check_label(label)
        return PointMass(self.generator(z, label))

    def prior(self, n: int, *, generator: Generator) -> Float[Tensor, "n latent"]:
        """n latents from N(0, I)."""
        like = next(self.generator.parameters())
        return normal_like(like.new_empty(n, *self.latent_shape), generator)

    def sample(
        self, n: int, *, generator: Generator, label: Int64[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n c h w"]:
        """G(z) for n latents drawn from the prior."""
        return self.decode(self.prior(n, generator=generator), label).mean

    def discriminate(
        self, x: Float[Tensor, "b c h w"], label: Int64[Tensor, " batch"] | None = None
    ) -> Float[Tensor, " batch"]:
        """D(x), the larger the more real, in logits; only differences have a meaning."""
        self._check_label(label)
        return self.discriminator(x, label)

    def _check_label(self, label: Tensor | None) -> None:
        if (label is None) == (self.classes > 0):
            wanted = f"labels 0 to {self.classes - 1}" if self.classes else "no label"
            raise ValueError(
                f"GAN: this model was built for {self.classes} classes and expects {wanted}, "
                f"got {'none' if label is None else 'labels'}."
            )


class GeneratorNetwork(nn.Module):
    """Latent to image: `stages`, from 4 x 4 to full resolution, then `head`.

    Nearest-neighbour upsampling and a convolution: a transposed convolution leaves a checkerboard.
    Batch normalisation is what lets so small a network learn within minutes; in evaluation mode it
    is a fixed scale and shift of each channel.
    """

    def __init__(
        self, latent_dim: int, channels: Sequence[int], classes: int, image_channels: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, latent_dim) if classes else None
        inputs = 2 * latent_dim if classes else latent_dim
        stem = nn.Sequential(
            nn.Linear(inputs, channels[0] * 16),
            nn.Unflatten(1, (channels[0], 4, 4)),
            nn.BatchNorm2d(channels[0]),
            nn.LeakyReLU(SLOPE),
        )
        self.stages = nn.ModuleList([stem, *(_up(a, b) for a, b in pairwise(channels))])
        self.head = nn.Sequential(conv(channels[-1], image_channels), nn.Tanh(), Uncentre())

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """G(z, label), in [0, 1]."""
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(label)], dim=1)
        for stage in self.stages:
            z = stage(z)
        return self.head(z)


class Discriminator(nn.Module):
    """Image to one logit, through features of falling resolution.

    The label enters as in a projection: its embedding, times the last features, is added.

    Source: Miyato & Koyama 2018, arXiv:1802.05637.
    """

    def __init__(
        self, side: int, channels: Sequence[int], classes: int, image_channels: int
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            _down(a, b) for a, b in zip((image_channels, *channels), channels, strict=False)
        )
        self.last = nn.Sequential(conv(channels[-1], channels[-1]), nn.LeakyReLU(SLOPE))
        n = channels[-1] * (side // 2 ** len(channels)) ** 2
        self.head = nn.Linear(n, 1)
        self.embedding = nn.Embedding(classes, n) if classes else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=n**-0.5)  # as large as the head's weights

    def features(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """Output of each stage, from fine to coarse."""
        seen = [Centre()(x)]
        for stage in (*self.stages, self.last):
            seen.append(stage(seen[-1]))
        return seen[1:]

    def forward(self, x: Tensor, label: Tensor | None = None) -> Float[Tensor, " batch"]:
        """The logits."""
        last = self.features(x)[-1].flatten(1)
        logit = self.head(last)[:, 0]
        if self.embedding is not None:
            logit = logit + (self.embedding(label) * last).sum(1)
        return at_least_float32(logit)


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample(scale_factor=2),
        conv(inputs, outputs),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(SLOPE),
    )


def _down(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(SLOPE))
