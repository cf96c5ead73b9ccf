"""The published architecture of very deep VAEs, from its strings of blocks."""

import math

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, gelu, pad

from course_lib.models.blocks import conv, scaled
from course_lib.models.hvae import HVAE
from course_lib.models.likelihoods import LogisticsHead
from course_lib.models.top_down import Group, GroupNetworks, TopDown, Widths, parse_blocks


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
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        size = 3 if side > 2 else 1
        self.c1 = scaled(conv(inputs, middle, 1), 1.0, 0.0)
        self.c2 = scaled(conv(middle, middle, size), 1.0, 0.0)
        self.c3 = scaled(conv(middle, middle, size), 1.0, 0.0)
        self.c4 = scaled(conv(middle, outputs, 1), scale, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, outputs, h, w)."""
        out = x
        for layer in self.children():
            out = layer(gelu(out))
        return out


class Residual(Bottleneck):
    """x + bottleneck(x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps of the same shape."""
        return x + super().forward(x)


class BottomUp(nn.Module):
    """An image to its maps of features, one for each resolution of the hierarchy.

    Args:
        blocks: for example "32x2,32d2,16x3,16d4,4x1": two blocks on maps of 32 x 32, one that ends
            with averages over 2 x 2, three blocks at 16 x 16, and so on.
        widths: channels of the maps of each side, which may grow as sides shrink.
        inputs: channels of the image.
        shrink: middle channels of a bottleneck, as a part of its width.
    """

    def __init__(self, blocks: str, widths: Widths, *, inputs: int, shrink: float) -> None:
        super().__init__()
        self.widths = {int(side): width for side, width in widths.items()}
        self.stages = parse_blocks(blocks)
        self.in_conv = scaled(conv(inputs, self.widths[self.stages[0][0]]), 1.0, 0.0)
        scale = 1 / math.sqrt(len(self.stages))
        self.enc_blocks = nn.ModuleList(
            Residual(w := self.widths[side], int(w * shrink), w, side=side, scale=scale)
            for side, _ in self.stages
        )

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """The maps by side."""
        x = self.in_conv(x)
        maps = {x.shape[-1]: x}
        for (_, rate), block in zip(self.stages, self.enc_blocks, strict=True):
            x = block(x)
            if rate is not None:
                x = avg_pool2d(x, rate)
                x = pad(x, (0, 0, 0, 0, 0, self.widths[x.shape[-1]] - x.shape[1]))
            maps[x.shape[-1]] = x
        return maps


def vdvae(
    *,
    enc_blocks: str,
    dec_blocks: str,
    widths: Widths,
    latents: int = 16,
    img_size: tuple[int, int, int] = (3, 64, 64),
    shrink: float = 0.25,
    n_mixtures: int = 10,
    bits: int = 8,
) -> HVAE:
    """A hierarchy down to the pixels; the state dict has the published names.

    Args:
        enc_blocks, dec_blocks: in the notation of `parse_blocks`.
        widths: channels of the maps, by their side.
        latents: channels of the latents of every group.
        img_size: (C, S, S), where S is the side of the finest blocks.
        shrink: middle channels of a bottleneck, as a part of its width.
        n_mixtures, bits: as in `LogisticsHead`.

    Source: Child 2021, arXiv:2011.10650, and its released code.
    """
    stages = parse_blocks(dec_blocks)
    scale = 1 / math.sqrt(len(stages))
    groups = []
    for side, mixin in stages:
        width = widths[str(side)]
        middle = int(width * shrink)
        networks = GroupNetworks(
            enc=Bottleneck(2 * width, middle, 2 * latents, side=side),
            prior=Bottleneck(width, middle, 2 * latents + width, side=side, scale=0.0),
            z_proj=scaled(conv(latents, width, 1), scale, 0.0),
            resnet=Residual(width, middle, width, side=side, scale=scale),
        )
        groups.append(Group(side, mixin, networks, width=width, latents=latents, bounded=False))
    encoder = BottomUp(enc_blocks, widths, inputs=img_size[0], shrink=shrink)
    finest = widths[str(max(side for side, _ in stages))]
    head = LogisticsHead(finest, img_size[0], n_mixtures=n_mixtures, bits=bits)
    return HVAE(encoder, TopDown(groups, widths, head), img_size=img_size)
