"""Hierarchical variational autoencoders: latents in groups, from the coarsest to the finest."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.distributions import Distribution, Normal, kl_divergence
from torch.nn.functional import interpolate

from course_lib.models.blocks import Centre, at_least_float32
from course_lib.models.vae import LOG_STD_RANGE, Elbo, gaussian, reparameterise
from course_lib.rng import check_generator, generator_from, normal_like

Widths = Mapping[str, int]  # the side of a map, in decimal (as JSON has it), to its channels
Draw = Callable[[int, Tensor, Normal], Tensor]  # (group, state, prior) to its latents


class Encoded(NamedTuple):
    """One draw of z ~ q(z | x), and what each group of it costs."""

    latents: list[Tensor]  # of each group (B, d, side, side)
    rates: Float[Tensor, "batch groups"]  # KL(q(z_l | z_<l, x) || p(z_l | z_<l)), in nats


class Group(nn.Module):
    """One group of latents on the way down: its prior, its posterior, and what it changes.

    Args:
        side: of its maps.
        mixin: side of the coarser maps that are enlarged and added first, or None.
        width: channels of its maps.
        latents: d, channels of its latents.
        enc: from the maps and the features of the image (2 width) to the posterior (2 d).
        prior: from the maps (width) to the prior and an addition to the maps (2 d + width), or to
            the prior alone (2 d).
        z_proj: from latents to an addition to the maps (width).
        resnet: changes the maps at the end.
        enlarge: what makes `width` maps of this side out of the coarser ones; None repeats pixels
            of the first `width` channels.
        residual: the posterior is predicted relative to the prior.
        bounded: log standard deviations are kept in LOG_STD_RANGE.

    Source: Child 2021, arXiv:2011.10650; for the relative posterior Vahdat & Kautz 2020,
    arXiv:2007.03898.
    """

    def __init__(
        self,
        side: int,
        mixin: int | None,
        *,
        width: int,
        latents: int,
        enc: nn.Module,
        prior: nn.Module,
        z_proj: nn.Module,
        resnet: nn.Module,
        enlarge: nn.Module | None = None,
        residual: bool = False,
        bounded: bool = True,
    ) -> None:
        super().__init__()
        self.side, self.mixin, self.latents = side, mixin, latents
        self.residual, self.bounded = residual, bounded
        self.width = width
        self.enc, self.prior, self.z_proj, self.resnet = enc, prior, z_proj, resnet
        self.enlarge = enlarge

    def enter(self, maps: dict[int, Tensor], n: int) -> Tensor:
        """The state in which the group finds its maps."""
        like = next(iter(maps.values()))
        state = maps.get(self.side)
        if state is None:
            state = like.new_zeros(n, self.width, self.side, self.side)
        if self.mixin is None:
            return state
        coarse = maps[self.mixin]
        if self.enlarge is not None:
            return state + self.enlarge(coarse)
        return state + interpolate(coarse[:, : self.width], scale_factor=self.side // self.mixin)

    def predict(self, state: Tensor) -> tuple[Normal, Tensor]:
        """p(z_l | z_<l), and the maps with what can be foreseen of them."""
        out = self.prior(state)
        mean, log_std = out[:, : 2 * self.latents].chunk(2, dim=1)
        foreseen = out[:, 2 * self.latents :]
        return law(mean, log_std, self.bounded), state + foreseen if foreseen.shape[1] else state

    def posterior(self, state: Tensor, features: Tensor, prior: Normal) -> Normal:
        """q(z_l | z_<l, x)."""
        mean, log_std = self.enc(torch.cat([state, features], dim=1)).chunk(2, dim=1)
        if self.residual:
            return relative(mean, log_std, prior)
        return law(mean, log_std, self.bounded)

    def absorb(self, state: Tensor, z: Tensor) -> Tensor:
        """The maps after z_l."""
        return self.resnet(state + self.z_proj(z.to(state.dtype)))


def law(mean: Tensor, log_std: Tensor, bounded: bool = True) -> Normal:
    """A Normal in float32 from what a layer puts out."""
    mean, log_std = at_least_float32(mean), at_least_float32(log_std)
    return gaussian(mean, (log_std.clamp(*LOG_STD_RANGE) if bounded else log_std).exp())


def relative(mean: Tensor, log_std: Tensor, prior: Normal) -> Normal:
    """A Normal whose mean and log standard deviation are told as differences to a prior."""
    return law(at_least_float32(mean) + prior.mean, at_least_float32(log_std) + prior.stddev.log())


class TopDown(nn.Module):
    """The groups in order, and the maps that they draw on; at the end, p(x | z).

    Args:
        groups: from the coarsest to the finest, as `Group`.
        widths: channels of the maps of each side.
        bias_up_to: maps up to this side start from learned values, larger ones from zero.
        out_net: from features to p(x | z).
        tail: what enlarges the finest maps to the image, deterministically.
    """

    def __init__(
        self,
        groups: Sequence[nn.Module],
        widths: Widths,
        out_net: nn.Module,
        *,
        bias_up_to: int = 64,
        tail: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.dec_blocks = nn.ModuleList(groups)
        sides = sorted({group.side for group in groups})
        self.bias_xs = nn.ParameterList(
            nn.Parameter(torch.zeros(1, widths[str(side)], side, side))
            for side in sides
            if side <= bias_up_to
        )
        last = widths[str(sides[-1])]
        self.gain = nn.Parameter(torch.ones(1, last, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, last, 1, 1))
        self.tail = nn.Identity() if tail is None else tail
        self.out_net = out_net

    def descend(self, draw: Draw, n: int, *, stop: int | None = None) -> Tensor:
        """Visit the groups (the first `stop` of them): `draw` chooses the latents of each."""
        maps = {bias.shape[-1]: bias.expand(n, -1, -1, -1) for bias in self.bias_xs}
        for index, group in enumerate(self.dec_blocks[:stop]):
            state = group.enter(maps, n)
            prior, carried = group.predict(state)
            maps[group.side] = group.absorb(carried, draw(index, state, prior))
        return maps[group.side]

    def emit(self, maps: Tensor) -> Distribution:
        """p(x | z) from the finest maps."""
        return self.out_net(self.tail(maps * self.gain + self.bias))


class HVAE(nn.Module):
    """p(x, z) = p(x | z) prod_l p(z_l | z_<l) and q(z | x) = prod_l q(z_l | z_<l, x).

    All conditional laws of latents are diagonal Gaussians. Both products run downwards over one
    stack of maps, so that the posterior of a group knows what the groups above it have drawn.

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
        """Of the maps of each group."""
        return [group.side for group in self.decoder.dec_blocks]

    def groups_up_to(self, side: int) -> int:
        """k, the number of groups whose maps are at most `side` pixels wide."""
        return sum(s <= side for s in self.sides)

    def features(self, x: Float[Tensor, "batch c h w"]) -> dict[int, Tensor]:
        """What the posteriors see of an image.

        Raises:
            ValueError: an image that the model was not made for.
        """
        if x.ndim != 4 or tuple(x.shape[1:]) != self.img_size:
            raise ValueError(
                f"HVAE: expected images of shape (B, {', '.join(map(str, self.img_size))}), got "
                f"{tuple(x.shape)}. Resize the image."
            )
        return self.encoder(self.centre(x))

    def encode(
        self, x: Float[Tensor, "batch c h w"], *, generator: Generator | None = None
    ) -> Encoded:
        """Draw z ~ q(z | x); the rates are exact given the latents above.

        Without a generator the draw is that of seed 0, so that two calls agree.
        """
        latents, rates, _ = self._infer(x, generator or generator_from(0))
        return Encoded(latents, rates)

    def decode(self, latents: Sequence[Tensor]) -> Distribution:
        """p(x | z) for the latents of all groups."""
        return self.decoder.emit(
            self.decoder.descend(lambda index, state, prior: latents[index], len(latents[0]))
        )

    def elbo(self, x: Float[Tensor, "batch c h w"], *, generator: Generator | None = None) -> Elbo:
        """One draw of z ~ q(z | x); nats per image.

        Without a generator the draw is that of seed 0, so that two calls agree.
        """
        _, rates, maps = self._infer(x, generator or generator_from(0))
        log_prob = self.decoder.emit(maps).log_prob(x)
        return Elbo(-log_prob.flatten(1).sum(1), rates.sum(1))

    def sample(
        self,
        n: int,
        temperature: float = 1.0,
        latents_below_k: Sequence[Tensor] | None = None,
        *,
        generator: Generator | None = None,
    ) -> Float[Tensor, "n c h w"]:
        """Means of p(x | z) for n draws from the prior.

        Args:
            n: how many.
            temperature: factor on the standard deviations of the prior; 0 takes its means.
            latents_below_k: of the first k groups, each (n, d, s, s) or (1, d, s, s): taken as
                given; the groups from k on are drawn.
            generator: of the draws; seed 0 if there is none.

        Raises:
            ValueError: a negative temperature, or too many groups given.
        """
        return self.decoder.emit(
            self.decoder.descend(
                self.prior_draw(temperature, latents_below_k or [], generator or generator_from(0)),
                n,
            )
        ).mean

    def prior_draw(self, temperature: float, given: Sequence[Tensor], generator: Generator) -> Draw:
        """The draw that takes the given latents first, and then the prior's."""
        if temperature < 0:
            raise ValueError(f"HVAE: temperature must be 0 or more, got {temperature}.")
        if len(given) > len(self.sides):
            raise ValueError(
                f"HVAE: latents of {len(given)} groups were given, but there are {len(self.sides)}."
            )
        check_generator("HVAE", generator)

        def draw(index: int, state: Tensor, prior: Normal) -> Tensor:
            if index < len(given):
                return given[index].expand_as(prior.mean)
            return prior.mean + temperature * prior.stddev * normal_like(prior.mean, generator)

        return draw

    def reconstruct(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        """The image decoded from the means of the posteriors."""
        features = self.features(x)

        def draw(index: int, state: Tensor, prior: Normal) -> Tensor:
            group = self.decoder.dec_blocks[index]
            return group.posterior(state, features[group.side], prior).mean

        return self.decoder.emit(self.decoder.descend(draw, len(x))).mean

    def _infer(self, x: Tensor, generator: Generator) -> tuple[list[Tensor], Tensor, Tensor]:
        """Latents, rates (B, L) and the finest maps of one draw from q(z | x)."""
        features = self.features(x)
        latents, rates = [], []

        def draw(index: int, state: Tensor, prior: Normal) -> Tensor:
            group = self.decoder.dec_blocks[index]
            q = group.posterior(state, features[group.side], prior)
            latents.append(reparameterise(q, generator))
            rates.append(kl_divergence(q, prior).flatten(1).sum(1))
            return latents[-1]

        maps = self.decoder.descend(draw, len(x))
        return latents, torch.stack(rates, 1), maps


def parse_blocks(text: str) -> list[tuple[int, int | None]]:
    """The notation of the published models, as pairs (side, number after the letter or None).

    "4x3" is three blocks on maps of 4 x 4; "8m4" a group at 8 x 8 that first takes in the maps of
    4 x 4; "8d2" a block that ends with averages over 2 x 2.

    Raises:
        ValueError: a word of another form.
    """
    pairs: list[tuple[int, int | None]] = []
    for word in text.split(","):
        letter = next((c for c in word if c in "xmd"), "")
        side, _, number = word.partition(letter) if letter else (word, "", "")
        if not side.isdigit() or (letter and not number.isdigit()):
            raise ValueError(
                f"parse_blocks: expected words such as 4x3, 8m4, 8d2 or 4, got {word!r}."
            )
        if letter == "x":
            pairs += [(int(side), None)] * int(number)
        else:
            pairs.append((int(side), int(number) if letter else None))
    return pairs
