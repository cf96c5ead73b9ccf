"""Hierarchical variational autoencoders: latents in groups, from the coarsest to the finest."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.distributions import Distribution, Normal, kl_divergence
from torch.nn.functional import avg_pool2d, gelu, interpolate, pad, relu

from course_lib.models.blocks import Centre, at_least_float32, conv, up_stage
from course_lib.models.likelihoods import HEADS
from course_lib.models.vae import LOG_STD_RANGE, Elbo, gaussian, reparameterise
from course_lib.random import check_generator, generator_from, normal_like

ACTIVATIONS = {"gelu": gelu, "relu": relu}
Widths = Mapping[str, int]  # the side of a map, in decimal, to a number of channels
Draw = Callable[[int, Tensor, Normal], Tensor]  # (group, state, prior) to its latents


class Encoded(NamedTuple):
    """One draw of z ~ q(z | x), and what each group of it costs."""

    latents: list[Tensor]  # of each group (B, d, side, side)
    rates: Float[Tensor, "batch groups"]  # KL(q(z_l | z_<l, x) || p(z_l | z_<l)), in nats


class Bottleneck(nn.Module):
    """Four convolutions, 1-3-3-1, through fewer channels; 1-1-1-1 on maps of 2 x 2 or smaller.

    The last one is scaled down, or zero, so that a deep stack starts near the identity.

    Source: Child 2021, arXiv:2011.10650, figure 3.
    """

    def __init__(
        self,
        inputs: int,
        middle: int,
        outputs: int,
        *,
        side: int,
        activation: str,
        residual: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        size = 3 if side > 2 else 1
        self.c1 = conv(inputs, middle, 1)
        self.c2, self.c3 = conv(middle, middle, size), conv(middle, middle, size)
        self.c4 = conv(middle, outputs, 1)
        self.activation, self.residual = ACTIVATIONS[activation], residual
        for layer in (self.c1, self.c2, self.c3, self.c4):
            layer.bias.data.zero_()
        self.c4.weight.data *= scale

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for layer in (self.c1, self.c2, self.c3, self.c4):
            out = layer(self.activation(out))
        return x + out if self.residual else out


class BottomUp(nn.Module):
    """An image to its maps of features, one for each resolution of the hierarchy.

    Args:
        blocks: for example "32x2,32d2,16x3,16d4,4x1": two blocks on maps of 32 x 32, one that ends
            with averages over 2 x 2, three blocks at 16 x 16, and so on.
        widths: channels of the maps of each side.
        inputs: channels of the image.
        stride: of the first convolution.
        shrink: middle channels of a bottleneck, as a part of its width.
        dense: the step down to 1 x 1 is a linear map of everything, not an average: the whole
            layout enters the first group.
    """

    def __init__(
        self,
        blocks: str,
        widths: Widths,
        *,
        inputs: int,
        stride: int = 1,
        shrink: float = 0.25,
        activation: str = "gelu",
        dense: bool = False,
    ) -> None:
        super().__init__()
        self.widths = {int(side): width for side, width in widths.items()}
        self.stages = parse_blocks(blocks)
        first = self.widths[self.stages[0][0]]
        self.in_conv = conv(inputs, first, 3 if stride == 1 else 5, stride)
        self.in_conv.bias.data.zero_()
        scale = 1 / math.sqrt(len(self.stages))
        self.enc_blocks = nn.ModuleList(
            Bottleneck(
                self.widths[side],
                int(self.widths[side] * shrink),
                self.widths[side],
                side=side,
                activation=activation,
                residual=True,
                scale=scale,
            )
            for side, _ in self.stages
        )
        self.gather = nn.ModuleDict(
            {
                str(index): nn.Conv2d(self.widths[side], self.widths[1], side)
                for index, (side, rate) in enumerate(self.stages)
                if dense and rate == side
            }
        )

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        x = self.in_conv(x)
        maps = {x.shape[-1]: x}
        for index, ((_, rate), block) in enumerate(zip(self.stages, self.enc_blocks, strict=True)):
            x = block(x)
            if str(index) in self.gather:
                x = self.gather[str(index)](x)
            elif rate is not None:
                x = avg_pool2d(x, rate)
                x = pad(x, (0, 0, 0, 0, 0, self.widths[x.shape[-1]] - x.shape[1]))
            maps[x.shape[-1]] = x
        return maps


class Group(nn.Module):
    """One group of latents on the way down: its prior, its posterior, and what it changes.

    Args:
        side: of its maps.
        mixin: side of the coarser maps that are enlarged and added first, or None.
        width: channels of its maps.
        latents: channels of its latents.
        middle: channels of its bottlenecks.
        scale: of the paths that add to the maps, 1 / sqrt(number of groups): then the maps do not
            grow with depth when training starts.
        coarse: channels of the maps that `mixin` names, if they are enlarged by a linear map of
            everything; None repeats their first `width` channels.
        residual: the posterior is predicted relative to the prior.

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
        middle: int,
        scale: float,
        activation: str,
        coarse: int | None = None,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.side, self.mixin, self.latents, self.residual = side, mixin, latents, residual
        self.width = width
        part = {"side": side, "activation": activation}
        self.enc = Bottleneck(2 * width, middle, 2 * latents, **part)
        self.prior = Bottleneck(width, middle, 2 * latents + width, scale=0.0, **part)
        self.z_proj = conv(latents, width, 1)
        self.z_proj.bias.data.zero_()
        self.z_proj.weight.data *= scale
        self.resnet = Bottleneck(width, middle, width, residual=True, scale=scale, **part)
        self.spread = None if coarse is None else nn.ConvTranspose2d(coarse, width, side)

    def enter(self, maps: dict[int, Tensor], n: int) -> Tensor:
        """The state in which the group finds its maps."""
        like = next(iter(maps.values()))
        state = maps.get(self.side)
        if state is None:
            state = like.new_zeros(n, self.width, self.side, self.side)
        if self.mixin is None:
            return state
        coarse = maps[self.mixin]
        if self.spread is not None:
            return state + self.spread(coarse)
        return state + interpolate(coarse[:, : self.width], scale_factor=self.side // self.mixin)

    def predict(self, state: Tensor) -> tuple[Normal, Tensor]:
        """p(z_l | z_<l), and the maps with what can be foreseen of them."""
        out = self.prior(state)
        mean, log_std, foreseen = out.split([self.latents, self.latents, self.width], dim=1)
        return _normal(mean, log_std), state + foreseen

    def posterior(self, state: Tensor, features: Tensor, prior: Normal) -> Normal:
        """q(z_l | z_<l, x)."""
        return relative(self.enc(torch.cat([state, features], dim=1)), prior, self.residual)

    def absorb(self, state: Tensor, z: Tensor) -> Tensor:
        """The maps after z_l."""
        return self.resnet(state + self.z_proj(z.to(state.dtype)))


def relative(out: Tensor, prior: Normal, residual: bool) -> Normal:
    """A Normal from the output (B, 2 d, h, w) of a head, told relative to the prior or not."""
    mean, log_std = at_least_float32(out).chunk(2, dim=1)
    if residual:
        mean, log_std = mean + prior.mean, log_std + prior.stddev.log()
    return _normal(mean, log_std)


def _normal(mean: Tensor, log_std: Tensor) -> Normal:
    mean, log_std = at_least_float32(mean), at_least_float32(log_std)
    return gaussian(mean, log_std.clamp(*LOG_STD_RANGE).exp())


class TopDown(nn.Module):
    """The groups in order, and the maps that they draw on; at the end, p(x | z).

    Args:
        groups: from the coarsest to the finest.
        widths: channels of the maps of each side.
        bias_up_to: maps up to this side start from learned values, larger ones from zero.
        out_net: from features to p(x | z).
        tail: what enlarges the finest maps to the image, deterministically.
    """

    def __init__(
        self,
        groups: Sequence[Group],
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

    Source: Child 2021, arXiv:2011.10650 (VDVAE; names of the parts are those of its published
    files).
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, *, img_size: tuple[int, int, int]
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.img_size = encoder, decoder, tuple(img_size)
        self.centre = Centre()

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

    def prior_draw(
        self, temperature: float, given: Sequence[Tensor], generator: Generator
    ) -> Draw:
        """The draw that takes the given latents first, and then the prior's."""
        if temperature < 0:
            raise ValueError(f"HVAE: temperature must be 0 or more, got {temperature}.")
        if len(given) > len(self.sides):
            raise ValueError(
                f"HVAE: latents of {len(given)} groups were given, but there are "
                f"{len(self.sides)}."
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


def hvae(
    *,
    enc_blocks: str,
    dec_blocks: str,
    widths: Widths,
    latents: Widths,
    img_size: tuple[int, int, int] = (1, 64, 64),
    stride: int = 1,
    tail: Sequence[int] = (),
    likelihood: str = "gaussian",
    shrink: float = 0.25,
    activation: str = "gelu",
    dense: bool = False,
    residual_posterior: bool = False,
    bias_up_to: int = 64,
) -> HVAE:
    """A model from its strings of blocks.

    Args:
        enc_blocks, dec_blocks: in the notation of `parse_blocks`.
        widths: channels of the maps, by their side.
        latents: channels of the latents, by the side of their group.
        img_size: (C, H, W).
        stride: of the encoder's first convolution: above 1, no map has the size of the image.
        tail: channels of the stages that double the resolution after the last group.
        likelihood: "gaussian" (learned scale) or "logistics" (discretised mixture).
        shrink, activation, dense: as in `BottomUp`; dense also spreads the 1 x 1 maps.
        residual_posterior: as in `Group`.
        bias_up_to: as in `TopDown`.
    """
    stages = parse_blocks(dec_blocks)
    groups = [
        Group(
            side,
            mixin,
            width=widths[str(side)],
            latents=latents[str(side)],
            middle=int(widths[str(side)] * shrink),
            scale=1 / math.sqrt(len(stages)),
            activation=activation,
            coarse=widths["1"] if dense and mixin == 1 else None,
            residual=residual_posterior,
        )
        for side, mixin in stages
    ]
    last = widths[str(max(side for side, _ in stages))]
    channels = [last, *tail]
    enlarge = [
        up_stage(a, b, 1 if depth + 1 < len(tail) else 0)
        for depth, (a, b) in enumerate(zip(channels, tail, strict=False))
    ]
    encoder = BottomUp(
        enc_blocks,
        widths,
        inputs=img_size[0],
        stride=stride,
        shrink=shrink,
        activation=activation,
        dense=dense,
    )
    out_net = HEADS[likelihood](channels[-1], img_size[0])
    decoder = TopDown(
        groups, widths, out_net, bias_up_to=bias_up_to, tail=nn.Sequential(*enlarge)
    )
    return HVAE(encoder, decoder, img_size=img_size)
