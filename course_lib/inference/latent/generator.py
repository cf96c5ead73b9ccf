"""Generators of images from latents: what the methods of this folder ask of a model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor, nn

from course_lib.models.gan import PointMass
from course_lib.operators import Operator
from course_lib.rng import normal_like


@runtime_checkable
class LatentGenerator(Protocol):
    """A distribution of images: z ~ N(0, I), then an image around decode(z).mean.

    A VAE is one, a GAN is one, and `Pushforward` makes one of any map. Where they exist,
    `encode(x).mean` is a first guess of the latent, and `noise_std` the standard deviation s of x
    given z.
    """

    def decode(self, z: Tensor) -> Any:
        """The distribution of x given z, or anything with its `.mean`."""

    def prior(self, n: int, *, generator: Generator) -> Tensor:
        """n draws of z."""
        ...


@runtime_checkable
class EncodingGenerator(LatentGenerator, Protocol):
    """A `LatentGenerator` that guesses the latent of an image."""

    def encode(self, x: Tensor, /) -> Any:
        """q(z | x), or anything with its `.mean`."""


@runtime_checkable
class HierarchicalGenerator(LatentGenerator, Protocol):
    """A `LatentGenerator` whose z has a prior of its own: h ~ N(0, I), z ~ p(z | h)."""

    def latent_prior(self, h: Tensor) -> Any:
        """p(z | h), with its `.mean` and `.stddev`."""

    def encode_hyper(self, z: Tensor) -> Any:
        """q(h) for latents z, or anything with its `.mean` and `.stddev`."""


@dataclass(frozen=True, eq=False)
class Pushforward:
    """The distribution of G(z) for z ~ N(0, I): makes a LatentGenerator of any map.

    Args:
        network: G, from latents (n, *latent_shape) to images (n, C, H, W).
        latent_shape: shape of one latent.
    """

    network: Callable[[Tensor], Tensor]
    latent_shape: tuple[int, ...]

    def decode(self, z: Tensor) -> PointMass:
        """G(z)."""
        return PointMass(self.network(z))

    def prior(self, n: int, *, generator: Generator) -> Tensor:
        """n draws from N(0, I)."""
        return normal_like(torch.empty(n, *self.latent_shape), generator)


def draw_latents(model: LatentGenerator, op: Operator, n: int, generator: Generator) -> Tensor:
    """n latents from the prior, for images of the size that op measures."""
    if tuple(getattr(model, "img_size", op.img_size)) == tuple(op.img_size):
        return model.prior(n, generator=generator)
    draw: Callable[..., Tensor] = model.prior  # of a network for images of any size
    return draw(n, generator=generator, img_size=tuple(op.img_size[-2:]))


def check_encoder(name: str, model: LatentGenerator, remedy: str) -> EncodingGenerator:
    """model itself; refuse one without an encoder, or in training mode."""
    if not isinstance(model, EncodingGenerator):
        raise ValueError(f"{name}: {type(model).__name__} has no encoder to start from; {remedy}")
    check_evaluation(model)
    return model


def check_evaluation(model: LatentGenerator) -> None:
    """Refuse layers in training mode: batch normalisation would mix the images of the batch."""
    network = model.network if isinstance(model, Pushforward) else model
    if isinstance(network, nn.Module) and any(part.training for part in network.modules()):
        raise ValueError(
            f"{type(network).__name__} is in training mode, in which dropout and batch "
            "normalisation make an image depend on chance and on its neighbours. Call .eval()."
        )
