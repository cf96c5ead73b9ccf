"""Hierarchical variational autoencoders: latents in groups, from the coarsest to the finest."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.distributions import Distribution, Normal, kl_divergence

from course_lib.batch import total
from course_lib.models.blocks import Centre, check_shape
from course_lib.models.top_down import Draw, TopDown
from course_lib.models.vae import Elbo, reparameterise
from course_lib.rng import check_generator, normal_like


class Encoded(NamedTuple):
    """One draw of z ~ q(z | x), and the price of each group of it."""

    latents: list[Tensor]  # of each group (B, d, side, side)
    rates: Float[Tensor, "b groups"]  # KL(q(z_l | z_<l, x) || p(z_l | z_<l)), in nats


class HVAE(nn.Module):
    """p(x, z) = p(x | z) prod_l p(z_l | z_<l) and q(z | x) = prod_l q(z_l | z_<l, x).

    All conditional distributions of latents are diagonal Gaussians. Both products run downwards
    over one stack of maps, so that the posterior of a group depends on the draws above it.

    Args:
        encoder: image to maps of features by side.
        decoder: the way down.
        img_size: (C, H, W) of one image.
        centre: from images in [0, 1] to what the encoder expects; to [-1, 1] by default.

    Source: Child 2021, arXiv:2011.10650 (VDVAE; names of the parts are those of its published
    files).
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: TopDown,
        *,
        img_size: tuple[int, int, int],
        centre: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.img_size = encoder, decoder, tuple(img_size)
        self.centre = Centre() if centre is None else centre

    @property
    def sides(self) -> list[int]:
        """Sides of the maps of each group."""
        return [group.side for group in self.decoder.dec_blocks]

    def groups_up_to(self, side: int) -> int:
        """k, the number of groups whose maps are at most `side` pixels wide."""
        return sum(s <= side for s in self.sides)

    def features(self, x: Float[Tensor, "b c h w"]) -> dict[int, Tensor]:
        """Maps of an image by side, on which the posteriors depend.

        Raises:
            ValueError: an image that the model was not made for.
        """
        check_shape("HVAE", x, self.img_size, " Resize the image.")
        return self.encoder(self.centre(x))

    def encode(self, x: Float[Tensor, "b c h w"], *, generator: Generator) -> Encoded:
        """One draw of z ~ q(z | x); the rates are exact given the latents above."""
        latents, rates, _ = self._infer(x, generator)
        return Encoded(latents, rates)

    def decode(self, latents: Sequence[Tensor]) -> Distribution:
        """p(x | z) for the latents of all groups."""
        maps = self.decoder.descend(lambda index, *_: latents[index], len(latents[0]))
        return self.decoder.emit(maps)

    def elbo(self, x: Float[Tensor, "b c h w"], *, generator: Generator) -> Elbo:
        """One draw of z ~ q(z | x); nats per image."""
        _, rates, maps = self._infer(x, generator)
        return Elbo(-total(self.decoder.emit(maps).log_prob(x)), rates.sum(1))

    def sample(
        self,
        n: int,
        temperature: float = 1.0,
        latents_below_k: Sequence[Tensor] | None = None,
        *,
        generator: Generator,
    ) -> Float[Tensor, "n c h w"]:
        """Means of p(x | z) for n draws from the prior.

        Args:
            n: number of images.
            temperature: factor on the standard deviations of the prior; 0 takes its means.
            latents_below_k: given latents of the first k groups, each (n, d, s, s) or
                (1, d, s, s); the groups from k on are drawn.
            generator: source of the draws.

        Raises:
            ValueError: a negative temperature, or too many groups given.
        """
        draw = self.prior_draw(temperature, latents_below_k or [], generator)
        return self.decoder.emit(self.decoder.descend(draw, n)).mean

    def prior_draw(self, temperature: float, given: Sequence[Tensor], generator: Generator) -> Draw:
        """The draw that takes the given latents first, and then the prior's."""
        if temperature < 0:
            raise ValueError(f"HVAE: temperature must be 0 or more, got {temperature}.")
        if len(given) > len(self.sides):
            raise ValueError(
                f"HVAE: latents of {len(given)} groups were given, but there are {len(self.sides)}."
            )
        check_generator("HVAE", generator)

        def draw(index: int, _: Tensor, prior: Normal) -> Tensor:
            if index < len(given):
                return given[index].expand_as(prior.mean)
            return prior.mean + temperature * prior.stddev * normal_like(prior.mean, generator)

        return draw

    def reconstruct(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The image decoded from the means of the posteriors."""
        features = self.features(x)

        def draw(index: int, state: Tensor, prior: Normal) -> Tensor:
            group = self.decoder.dec_blocks[index]
            return group.posterior(state, features[group.side], prior).mean

        return self.decoder.emit(self.decoder.descend(draw, len(x))).mean

    def _infer(self, x: Tensor, generator: Generator) -> tuple[list[Tensor], Tensor, Tensor]:
        """Latents, rates (B, L) and the finest maps of one draw from q(z | x)."""
        check_generator("HVAE", generator)
        features = self.features(x)
        latents, rates = [], []

        def draw(index: int, state: Tensor, prior: Normal) -> Tensor:
            group = self.decoder.dec_blocks[index]
            q = group.posterior(state, features[group.side], prior)
            latents.append(reparameterise(q, generator))
            rates.append(total(kl_divergence(q, prior)))
            return latents[-1]

        maps = self.decoder.descend(draw, len(x))
        return latents, torch.stack(rates, 1), maps
