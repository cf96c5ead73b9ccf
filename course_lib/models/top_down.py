"""The way down of a hierarchical VAE: groups of latents, from the coarsest maps to the finest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch.nn.functional import interpolate

from course_lib.models.blocks import at_least_float32
from course_lib.models.vae import LOG_STD_RANGE, gaussian

Widths = Mapping[str, int]  # the side of a map, in decimal (as JSON has it), to its channels
Draw = Callable[[int, Tensor, Normal], Tensor]  # (group, state, prior) to its latents
LARGEST_BIAS = 64  # side of the largest maps that start from learned values, not from zero


@dataclass(frozen=True)
class GroupNetworks:
    """The networks of one group, whose maps have `width` and whose latents have d channels.

    Args:
        enc: from the maps and the features of the image (2 width) to the posterior (2 d).
        prior: from the maps (width) to the prior and an addition to the maps (2 d + width), or to
            the prior alone (2 d).
        z_proj: from latents to an addition to the maps (width).
        resnet: changes the maps at the end.
        enlarge: from the coarser maps to `width` maps of this side; None repeats the pixels of the
            first `width` channels.
    """

    enc: nn.Module
    prior: nn.Module
    z_proj: nn.Module
    resnet: nn.Module
    enlarge: nn.Module | None = None


class Group(nn.Module):
    """One group of latents on the way down: its prior, its posterior, and what it changes.

    Args:
        side: side of its maps, in pixels.
        mixin: side of the coarser maps that are enlarged and added first, or None.
        networks: as described there.
        width: channels of its maps.
        latents: d, channels of its latents.
        residual: the posterior is predicted relative to the prior.
        bounded: log standard deviations are kept in LOG_STD_RANGE.

    Source: Child 2021, arXiv:2011.10650; for the relative posterior Vahdat & Kautz 2020,
    arXiv:2007.03898.
    """

    def __init__(
        self,
        side: int,
        mixin: int | None,
        networks: GroupNetworks,
        *,
        width: int,
        latents: int,
        residual: bool = False,
        bounded: bool = True,
    ) -> None:
        super().__init__()
        self.side, self.mixin, self.width, self.latents = side, mixin, width, latents
        self.residual, self.bounded = residual, bounded
        self.enc, self.prior, self.z_proj = networks.enc, networks.prior, networks.z_proj
        self.resnet, self.enlarge = networks.resnet, networks.enlarge

    def enter(self, maps: dict[int, Tensor], n: int) -> Tensor:
        """The maps of the group's side for n images, with what it takes over from coarser ones."""
        state = maps.get(self.side)
        if state is None:
            like = next(iter(maps.values()))
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
        prior = normal(mean, log_std, self.bounded)
        return prior, state + foreseen if foreseen.shape[1] else state

    def posterior(self, state: Tensor, features: Tensor, prior: Normal) -> Normal:
        """q(z_l | z_<l, x)."""
        mean, log_std = self.enc(torch.cat([state, features], dim=1)).chunk(2, dim=1)
        if self.residual:
            return relative(mean, log_std, prior)
        return normal(mean, log_std, self.bounded)

    def absorb(self, state: Tensor, z: Tensor) -> Tensor:
        """The maps after z_l."""
        return self.resnet(state + self.z_proj(z.to(state.dtype)))


def normal(mean: Tensor, log_std: Tensor, bounded: bool = True) -> Normal:
    """A Normal in float32 from the output of a layer."""
    mean, log_std = at_least_float32(mean), at_least_float32(log_std)
    return gaussian(mean, (log_std.clamp(*LOG_STD_RANGE) if bounded else log_std).exp())


def relative(mean: Tensor, log_std: Tensor, prior: Normal) -> Normal:
    """A Normal whose mean and log standard deviation are given as differences to a prior's."""
    return normal(
        at_least_float32(mean) + prior.mean, at_least_float32(log_std) + prior.stddev.log()
    )


class TopDown(nn.Module):
    """The groups in order, and the maps that they draw on; at the end, p(x | z).

    Args:
        groups: from the coarsest to the finest, as `Group`.
        widths: channels of the maps of each side.
        out_net: from features to p(x | z).
        tail: from the finest maps to features of the image's size, deterministically.
    """

    dec_blocks: Any  # nn.ModuleList of groups
    bias_xs: Any  # nn.ParameterList

    def __init__(
        self,
        groups: Sequence[Any],
        widths: Widths,
        out_net: nn.Module,
        *,
        tail: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.dec_blocks = nn.ModuleList(groups)
        sides = sorted({group.side for group in groups})
        self.bias_xs = nn.ParameterList(
            nn.Parameter(torch.zeros(1, widths[str(side)], side, side))
            for side in sides
            if side <= LARGEST_BIAS
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
