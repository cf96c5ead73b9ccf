"""What a measurement says about the first latents of a hierarchical VAE."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from course_lib.models.blocks import Centre
from course_lib.models.hvae import Widths, relative
from course_lib.models.stacked_vae import Stages, posterior_head


class MeasurementEncoder(nn.Module):
    """q(z_<k | y) = prod_l<k q(z_l | z_<l, y) for a frozen HVAE, on whose maps it looks as well.

    It is to the measurement y what the HVAE's own encoder is to the image.

    Args:
        encoder: measurement in [-1, 1] to maps of features by side.
        heads: of the first k groups, as `Group.enc`.
        sides: of those groups.
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
        """How many groups are told from the measurement."""
        return len(self.heads)

    def features(self, y: Tensor) -> dict[int, Tensor]:
        """What the heads see of measurements (B, C, h, w) in [0, 1].

        Raises:
            ValueError: a measurement of another shape.
        """
        if y.ndim != 4 or tuple(y.shape[1:]) != self.measurement_size:
            size = ", ".join(map(str, self.measurement_size))
            raise ValueError(
                f"MeasurementEncoder: expected measurements (B, {size}), got {tuple(y.shape)}. "
                "Take the encoder that was trained for this operator."
            )
        return self.encoder(self.centre(y))

    def posterior(
        self, index: int, state: Tensor, features: dict[int, Tensor], prior: Normal
    ) -> Normal:
        """q(z_l | z_<l, y) for group `index`, whose maps are `state`."""
        seen = torch.cat([state, features[self.sides[index]]], dim=1)
        return relative(*self.heads[index](seen).chunk(2, dim=1), prior)


def measurement_encoder(
    *,
    measurement_size: Sequence[int],
    sides: Sequence[int],
    latents: Widths,
    channels: Sequence[int],
    halves: Sequence[bool],
    width: int = 512,
    blocks: int = 2,
) -> MeasurementEncoder:
    """An encoder of measurements for `stacked_vae`; at first it says what the prior says.

    Args:
        measurement_size: (C, s, s).
        sides: of the groups that it tells.
        latents, width: of the HVAE.
        channels, halves, blocks: as in `Stages`; at sides above 1 the channels are the HVAE's.
    """
    inputs, side, _ = measurement_size
    encoder = Stages(channels, blocks=blocks, inputs=inputs, side=side, width=width, halves=halves)
    widths = {1: width}
    for count, half in zip(channels, halves, strict=True):
        side = side // 2 if half else side
        widths[side] = count
    heads = [posterior_head(at, widths[at], latents[str(at)]) for at in sides]
    for head in heads:
        for parameter in head[-1].parameters():
            parameter.data.zero_()  # else a guess that is wrong and sure costs millions of nats
    return MeasurementEncoder(encoder, heads, sides=sides, measurement_size=tuple(measurement_size))
