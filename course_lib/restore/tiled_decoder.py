"""A convolutional decoder whose features are held for one tile at a time."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

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

    A pixel of D(z), or a row of L, depends on the latents within a certain reach. So a tile that is
    decoded with that many latents around it, which are then cut off, is the tile of the whole
    image: there is nothing to blend and no seam. What a gradient needs is computed again, tile by
    tile, when the gradient is taken, so that features are held for one tile at a time.

    The distribution of an image is not cut into pieces, only the network's work is. Inference on
    `TiledDecoder` is therefore inference on the whole image: one objective, one q, samples with the
    right spread everywhere. What is left to grow with the image is q and L with their gradients:
    about 700 bytes a pixel in a descent with `VBLE`, against 2500 without tiles.

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
        """That of the model."""
        return self.model.noise_std

    def encode(self, x: Tensor) -> Normal:
        """q(z | x), of the whole image at once: without a gradient it needs little memory."""
        return self.model.encode(x)

    def prior(
        self, n: int, *, generator: Generator, img_size: tuple[int, int] | None = None
    ) -> Tensor:
        """As of the model."""
        return self.model.prior(n, generator=generator, img_size=img_size)

    def decode(self, z: Tensor) -> Normal | StructuredNormal:
        """p(x | z), as the model gives it for the whole images."""
        pixels = self.stride**2
        if z[:, 0].numel() * pixels <= self.tile**2:
            law = self.model.decode(z)
            self.tick(z[:, 0].numel() * pixels)
            return law
        images = []
        for image in z.split(1):
            rows = []
            for top, bottom in _spans(z.shape[-2], self.inside):
                row = []
                for left, right in _spans(z.shape[-1], self.inside):
                    row.append(self._piece(image, (top, bottom), (left, right)))
                    self.tick((bottom - top) * (right - left) * pixels)
                rows.append(_join(row, dim=-1))
            images.append(_join(rows, dim=-2))
        return self._law(_join(images, dim=0))

    def _piece(
        self, z: Tensor, rows: tuple[int, int], columns: tuple[int, int]
    ) -> tuple[Tensor, ...]:
        """The tensors of p(x | z) in one tile."""
        taken, kept = [], [Ellipsis]
        for (first, last), side in ((rows, z.shape[-2]), (columns, z.shape[-1])):
            before, after = max(first - self.reach, 0), min(last + self.reach, side)
            taken.append(slice(before, after))
            kept.append(slice((first - before) * self.stride, (last - before) * self.stride))
        network = partial(self._tensors, kept=tuple(kept))
        part = z[..., taken[0], taken[1]]
        if torch.is_grad_enabled() and z.requires_grad:
            return checkpoint(network, part, use_reentrant=False, preserve_rng_state=False)
        return network(part)

    def _tensors(self, z: Tensor, *, kept: tuple) -> tuple[Tensor, ...]:
        law = self.model.decode(z)
        if isinstance(law, StructuredNormal):
            L = law.precision_cholesky
            parts = (law.mean, L.diagonal, L.offdiagonal)
        else:
            parts = (law.mean, law.stddev)
        return tuple(part[kept] for part in parts)

    def _law(self, parts: tuple[Tensor, ...]) -> Normal | StructuredNormal:
        if len(parts) == 2:
            return gaussian(*parts)
        mean, diagonal, offdiagonal = parts
        return StructuredNormal(mean, BandedCholesky(diagonal, offdiagonal, self.model.head.radius))


def _spans(length: int, longest: int) -> list[tuple[int, int]]:
    """0 ... length cut into as few spans as possible, about equally long."""
    n = -(-length // longest)
    return list(pairwise(length * k // n for k in range(n + 1)))


def _join(pieces: list[tuple[Tensor, ...]], dim: int) -> tuple[Tensor, ...]:
    """Piece by piece along `dim`, each of their tensors on its own."""
    return tuple(torch.cat(parts, dim=dim) for parts in zip(*pieces, strict=True))
