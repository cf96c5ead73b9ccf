"""A convolutional decoder whose features are held for one tile at a time."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Normal
from torch.utils.checkpoint import checkpoint

from course_lib.kernels.banded_cholesky import BandedCholesky
from course_lib.models.structured_vae import StructuredNormal
from course_lib.models.vae import VAE, gaussian

REACH = 10  # latents beside a pixel that can change it: 9 through a `conv_vae`, 10 through L


class TiledDecoder(nn.Module):
    """A convolutional VAE that decodes large images piece by piece, with the same result.

    A pixel of G(z), or a row of L, depends on the latents within a certain reach. So a tile that is
    decoded with that many latents around it, which are then cut off, is the tile of the whole
    image: there is nothing to blend and no seam. What a gradient needs is computed again, tile by
    tile, when the gradient is taken, so that features are held for one tile at a time.

    Only the network's work is cut into pieces: inference is that on the whole image, with one q.
    Memory grows with q, L and their gradients: about 700 bytes a pixel in a descent with `VBLE`,
    against 2500 without tiles.

    Args:
        model: convolutional, as `conv_vae` or `structured_vae` build it.
        tile: side in pixels of the largest square that goes through the network at once, with
            what is cut off again.
        reach: latents to add on each side of a tile.
        tick: called with the number of pixels, whenever some have been decoded.

    Raises:
        ValueError: a model with one latent vector an image, or a tile without any inside.
    """

    def __init__(
        self,
        model: VAE,
        *,
        tile: int = 1024,
        reach: int = REACH,
        tick: Callable[[int], object] | None = None,
    ) -> None:
        super().__init__()
        if len(model.latent_shape) != 3:
            raise ValueError(
                "TiledDecoder: this model has one latent vector for images of "
                f"{model.img_size}; take a convolutional one."
            )
        self.stride = model.img_size[1] // model.latent_shape[1]
        self.inside = tile // self.stride - 2 * reach  # latents of a tile that are kept
        if reach < 0 or self.inside < 1:
            raise ValueError(
                f"TiledDecoder: expected reach >= 0 and a tile of more than "
                f"{(2 * max(reach, 0) + 1) * self.stride - 1} pixels, got {reach} and {tile}."
            )
        self.model, self.tile, self.reach = model, tile, reach
        self.img_size, self.latent_shape = model.img_size, model.latent_shape
        self.tick = tick or (lambda _pixels: None)
        self.train(model.training)

    @property
    def noise_std(self) -> Tensor:
        """Standard deviation of the model."""
        return self.model.noise_std

    def encode(self, x: Tensor) -> Normal:
        """q(z | x), of the whole image at once: without a gradient it needs little memory."""
        return self.model.encode(x)

    def prior(
        self, n: int, *, generator: Generator, img_size: tuple[int, int] | None = None
    ) -> Tensor:
        """Latents from the prior of the model."""
        return self.model.prior(n, generator=generator, img_size=img_size)

    def decode(self, z: Tensor) -> Normal | StructuredNormal:
        """p(x | z), as the model gives it for the whole images."""
        if z[:, 0].numel() * self.stride**2 <= self.tile**2:
            p = self.model.decode(z)
            self.tick(z[:, 0].numel() * self.stride**2)
            return p
        rows, columns = (_spans(side, self.inside) for side in z.shape[-2:])
        images = []
        for image in z.split(1):
            strips = [_join([self._piece(image, r, c) for c in columns], dim=-1) for r in rows]
            images.append(_join(strips, dim=-2))
        mean, *scale = _join(images, dim=0)
        if len(scale) == 1:
            return gaussian(mean, scale[0])
        head: Any = self.model.head
        return StructuredNormal(mean, BandedCholesky(scale[0], scale[1], head.radius))

    def _piece(self, z: Tensor, *spans: tuple[int, int]) -> tuple[Tensor, ...]:
        """The tensors of p(x | z) in one tile: mean and stddev, or mean and the parts of L."""
        taken, kept = [], []
        for (first, last), side in zip(spans, z.shape[-2:], strict=True):
            before, after = max(first - self.reach, 0), min(last + self.reach, side)
            taken.append(slice(before, after))
            kept.append(slice((first - before) * self.stride, (last - before) * self.stride))

        def network(z: Tensor) -> tuple[Tensor, ...]:
            p = self.model.decode(z)
            L = getattr(p, "precision_cholesky", None)
            parts = (p.stddev,) if L is None else (L.diagonal, L.offdiagonal)
            return tuple(part[..., *kept] for part in (p.mean, *parts))

        part = z[..., *taken]
        if torch.is_grad_enabled() and z.requires_grad:
            found = checkpoint(network, part, use_reentrant=False, preserve_rng_state=False)
        else:
            found = network(part)
        self.tick(math.prod((last - first) * self.stride for first, last in spans))
        return found


def _spans(length: int, longest: int) -> list[tuple[int, int]]:
    """0 ... length cut into as few spans as possible, about equally long."""
    n = -(-length // longest)
    return list(pairwise(length * k // n for k in range(n + 1)))


def _join(pieces: list[tuple[Tensor, ...]], dim: int) -> tuple[Tensor, ...]:
    """Piece by piece along `dim`, each of their tensors on its own."""
    return tuple(torch.cat(parts, dim=dim) for parts in zip(*pieces, strict=True))
