"""A U-Net without normalisation, for images of any size: maps in, maps of the same size out."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from course_lib.models.blocks import ResidualBlock, conv, down_stage, scaled, up_stage


class ResidualUNet(nn.Module):
    """Down to 1 / 2^d of the resolution and up again; each stage is added to that of the way down.

    The last convolution begins at zero, so that before training the output is 0 everywhere. Sides
    that the stages would not halve evenly are continued by reflection and cut off again.

    Args:
        inputs, outputs: channels of the maps that go in and come out.
        channels: channels of the stages; their number is d.
        blocks: residual blocks a stage.

    Source: Ronneberger, Fischer & Brox 2015, doi:10.1007/978-3-319-24574-4_28; sums in the place
    of concatenations as in Zhang et al. 2021, arXiv:2008.13751.
    """

    def __init__(
        self,
        inputs: int = 1,
        outputs: int = 1,
        *,
        channels: Sequence[int] = (32, 64, 96),
        blocks: int = 2,
    ) -> None:
        super().__init__()
        widths = (max(channels[0] // 2, 8), *channels)
        self.stride = 2 ** len(channels)
        self.inlet = conv(inputs, widths[0])
        self.down = nn.ModuleList(down_stage(a, b, blocks) for a, b in pairwise(widths))
        self.middle = nn.Sequential(*(ResidualBlock(widths[-1]) for _ in range(blocks)))
        self.up = nn.ModuleList(up_stage(b, a, blocks) for a, b in reversed([*pairwise(widths)]))
        self.outlet = nn.Sequential(nn.SiLU(), scaled(conv(widths[0], outputs), 0.0, 0.0))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o h w"]:
        """Maps of the same size."""
        height, width = x.shape[-2:]
        features, trail = self.inlet(self._padded(x)), []
        for stage in self.down:
            trail.append(features)
            features = stage(features)
        features = self.middle(features)
        for stage in self.up:
            features = stage(features) + trail.pop()
        return self.outlet(features)[..., :height, :width]

    def _padded(self, x: Tensor) -> Tensor:
        """Continued to multiples of the stride; a side of few pixels by its last one."""
        missing = [-side % self.stride for side in x.shape[-2:]]
        reflects = all(m < side for m, side in zip(missing, x.shape[-2:], strict=True))
        mode = "reflect" if reflects else "replicate"
        return pad(x, (0, missing[1], 0, missing[0]), mode) if any(missing) else x


def receptive_field(network: nn.Module, side: int = 128, channels: int = 1) -> int:
    """Side of the square of pixels that can change the pixel in the middle, by the gradient.

    Args:
        network: from images (1, C, side, side) to maps of the same size, not constant.
        side: of the image that is looked at; the field must be smaller.
        channels: C.

    Raises:
        ValueError: no pixel matters, or the field reaches the border.
    """
    x = torch.zeros(1, channels, side, side, requires_grad=True)
    middle = side // 2
    (slope,) = torch.autograd.grad(network(x)[0, :, middle, middle].sum(), x)
    rows = slope.abs().sum((0, 1, 3)).nonzero().flatten()
    if not len(rows) or rows[0] == 0 or rows[-1] == side - 1:
        raise ValueError(
            f"receptive_field: the field is empty or not inside {side} x {side} pixels; train the "
            "network or make `side` larger."
        )
    return int(rows[-1] - rows[0]) + 1
