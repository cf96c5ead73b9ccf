"""Posteriors of the first latents of a hierarchical VAE, given a measurement."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from course_lib.models.blocks import Centre, check_shape
from course_lib.models.stacked_vae import MAPS, Stages, posterior_head
from course_lib.models.top_down import Widths, relative


class MeasurementEncoder(nn.Module):
    """q(z_<k | y) = prod_l<k q(z_l | z_<l, y) for a frozen HVAE, whose maps enter as well.

    It is to the measurement y what the HVAE's own encoder is to the image.

    Args:
        encoder: measurement in [-1, 1] to maps of features by side.
        heads: networks of the first k groups, as `GroupNetworks.enc`.
        sides: sides of those groups.
        measurement_size: (C, h, w) of one y.

    Source: Prost, Houdard, Almansa & Papadakis 2024, arXiv:2205.10347.
    """

    def __init__(
        self,
        encoder: nn.Module,
        heads: Sequence[nn.Module],
        *,
        sides: Sequence[int],
        measurement_size: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.encoder, self.heads = encoder, nn.ModuleList(heads)
        self.sides, self.measurement_size = list(sides), tuple(measurement_size)
        self.centre = Centre()

    @property
    def k(self) -> int:
        """Number of groups that are predicted from the measurement."""
        return len(self.heads)

    def features(self, y: Tensor) -> dict[int, Tensor]:
        """Input of the heads, maps by side, for measurements (B, C, h, w) in [0, 1].

        Raises:
            ValueError: a measurement of another shape.
        """
        remedy = " Take the encoder that was trained for this operator."
        check_shape("MeasurementEncoder", y, self.measurement_size, remedy, "measurements")
        return self.encoder(self.centre(y))

    def posterior(
        self, index: int, state: Tensor, features: dict[int, Tensor], prior: Normal
    ) -> Normal:
        """q(z_l | z_<l, y) for group `index`, whose maps are `state`."""
        seen = torch.cat([state, features[self.sides[index]]], dim=1)
        mean, log_std = self.heads[index](seen).chunk(2, dim=1)
        return relative(mean, log_std, prior)


@dataclass(frozen=True)
class MeasurementEncoderForm:
    """Sizes of a measurement encoder for a `stacked_vae`.

    Args:
        measurement_size: (C, s, s).
        sides: sides of the groups that it predicts.
        latents, width: those of the HVAE.
        channels, halves, blocks, maps: as in `Stages`; at sides above 1 the HVAE's channels.
        middle: channels within a head at sides above 1; those of the maps by default.
    """

    measurement_size: Sequence[int]
    sides: Sequence[int]
    latents: Widths
    channels: Sequence[int]
    halves: Sequence[bool]
    width: int = 512
    blocks: int = 2
    maps: int = MAPS
    middle: int | None = None

    def build(self) -> MeasurementEncoder:
        """An encoder with fresh weights, whose posteriors are the priors at first."""
        inputs, height, width = self.measurement_size
        encoder = Stages(
            self.channels,
            blocks=self.blocks,
            inputs=inputs,
            side=width,
            width=self.width,
            halves=self.halves,
            maps=self.maps,
        )
        widths, side = {1: self.width}, width
        for count, half in zip(self.channels, self.halves, strict=True):
            side = side // 2 if half else side
            widths[side] = count
        heads = [
            posterior_head(at, widths[at], self.latents[str(at)], self.middle) for at in self.sides
        ]
        for head in heads:
            for parameter in head[-1].parameters():
                nn.init.zeros_(parameter)  # a guess that is wrong and sure costs millions of nats
        return MeasurementEncoder(
            encoder, heads, sides=self.sides, measurement_size=(inputs, height, width)
        )
