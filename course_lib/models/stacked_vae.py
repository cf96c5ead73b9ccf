"""A hierarchical VAE that grows out of a flat one: finer groups of latents below its vector."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.models.blocks import ResidualBlock, conv, down_stage, scaled, up_stage
from course_lib.models.hvae import HVAE
from course_lib.models.likelihoods import GaussianHead
from course_lib.models.top_down import Group, GroupNetworks, TopDown, Widths, parse_blocks
from course_lib.models.vae import VAE

MAPS = 32  # between a vector and the coarsest maps
VECTOR_PRIOR = 192  # hidden units of the prior of a group at 1 x 1


class Stages(nn.Module):
    """The encoder of `compact_vae`, whose maps after each stage are kept.

    Args:
        channels: channels of the stages.
        blocks: residual blocks of a stage; a first stage that halves an image has one.
        inputs: channels of the image.
        side: side of the image.
        width: length of the vector at the end.
        halves: which stages halve the resolution; all by default.
        maps: kept of the coarsest ones, for the vector at the end.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        blocks: int,
        inputs: int,
        side: int,
        width: int,
        halves: Sequence[bool] | None = None,
        maps: int = MAPS,
    ) -> None:
        super().__init__()
        halves = [True] * len(channels) if halves is None else list(halves)
        sizes = [(1, 5) if halves[0] else (blocks, 3), *[(blocks, 3)] * (len(channels) - 1)]
        pairs = pairwise((inputs, *channels))
        self.stages = nn.ModuleList(
            down_stage(*pair, *size, stride=1 + half)
            for pair, size, half in zip(pairs, sizes, halves, strict=True)
        )
        coarsest = side // 2 ** sum(halves)
        self.gather = nn.Sequential(
            nn.SiLU(),
            conv(channels[-1], maps, 1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(maps * coarsest**2, width),
            nn.Unflatten(1, (width, 1, 1)),
        )

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """The maps by side; the vector has side 1."""
        maps = {}
        for stage in self.stages:
            x = stage(x)
            maps[x.shape[-1]] = x
        return maps | {1: self.gather(x)}


def stacked_vae(
    *,
    dec_blocks: str,
    latents: Widths,
    channels: Sequence[int] = (32, 64, 96),
    width: int = 512,
    blocks: int = 2,
    tail: int = 16,
    img_size: tuple[int, int, int] = (1, 64, 64),
) -> HVAE:
    """Groups at 1 x 1 share the vector of the flat VAE, finer ones draw on maps of its decoder.

    Args:
        dec_blocks: in the notation of `parse_blocks`, for instance "1x4,8m1,8x1,16m8". The first
            side after 1 is that of the decoder's coarsest maps, and sides double from there.
        latents: channels of the latents, by the side of their group.
        channels, width, blocks, tail: as in `compact_vae`.
        img_size: (C, S, S).
    """
    up = channels[::-1]
    side = img_size[1]
    coarsest = side // 2 ** len(channels)
    widths = {"1": width} | {str(coarsest * 2**k): c for k, c in enumerate(up)}
    stages = parse_blocks(dec_blocks)
    enlargements = {
        coarsest: nn.Sequential(
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(width, MAPS * coarsest**2),
            nn.Unflatten(1, (MAPS, coarsest, coarsest)),
            conv(MAPS, up[0]),
            *(ResidualBlock(up[0]) for _ in range(blocks)),
        )
    } | {coarsest * 2 ** (k + 1): up_stage(a, b, blocks) for k, (a, b) in enumerate(pairwise(up))}
    groups, scale = [], 1 / math.sqrt(len(stages))
    for at, mixin in stages:
        enlarge = None if mixin is None else enlargements.pop(at)
        groups.append(_group(at, mixin, widths[str(at)], latents[str(at)], enlarge, scale))
    decoder = TopDown(
        groups,
        widths,
        GaussianHead(tail, img_size[0]),
        tail=nn.Sequential(
            *enlargements.values(), nn.SiLU(), nn.Upsample(scale_factor=2), conv(up[-1], tail)
        ),
    )
    encoder = Stages(channels, blocks=blocks, inputs=img_size[0], side=side, width=width)
    return HVAE(encoder, decoder, img_size=img_size)


def _group(
    side: int, mixin: int | None, width: int, latents: int, enlarge: nn.Module | None, scale: float
) -> Group:
    """Heads of one or two layers; what is added to the maps starts at zero, but for latents."""
    z_proj = scaled(conv(latents, width, 1), scale, 0.0)
    if side == 1:
        middle, size, foreseen, resnet = VECTOR_PRIOR, 1, 0, nn.Identity()
    else:
        middle, size, foreseen, resnet = width // 2, 3, width, ResidualBlock(width)
        scaled(resnet.second, 0.0, 0.0)
    prior = nn.Sequential(
        nn.SiLU(),
        conv(width, middle, size),
        nn.SiLU(),
        scaled(conv(middle, 2 * latents + foreseen, size), 0.0, 0.0),
    )
    enc = posterior_head(side, width, latents)
    networks = GroupNetworks(enc, prior, z_proj, resnet, enlarge)
    return Group(side, mixin, networks, width=width, latents=latents, residual=True)


def posterior_head(side: int, width: int, latents: int, middle: int | None = None) -> nn.Sequential:
    """From the maps and the features of an image (2 width) to mean and log std (2 latents)."""
    if side == 1:
        return nn.Sequential(nn.SiLU(), conv(2 * width, 2 * latents, 1))
    middle = middle or width
    return nn.Sequential(nn.SiLU(), conv(2 * width, middle), nn.SiLU(), conv(middle, 2 * latents))


@torch.no_grad()
def start_from_vae(model: HVAE, vae: VAE) -> None:
    """Copy a `compact_vae` of the same channels: its latent is dealt out to the groups at 1 x 1.

    Its d numbers go to the last of those groups; the groups before them are new, and begin with
    nothing to say. So the model first draws what the VAE draws.

    Raises:
        ValueError: the groups do not add up to d from behind.
    """
    encoder: Any = model.encoder
    flat_encoder: Any = vae.encoder
    flat_decoder: Any = vae.decoder
    _, *stages, _, to_maps = flat_encoder[0]
    _, _, to_width, _, to_latent = flat_encoder[1:]
    for mine, theirs in zip(encoder.stages, stages, strict=True):
        mine.load_state_dict(theirs.state_dict())
    encoder.gather[1].load_state_dict(to_maps.state_dict())
    encoder.gather[4].load_state_dict(to_width.state_dict())

    from_latent, _, to_grid, _, maps = flat_decoder
    groups = model.decoder.dec_blocks
    vector, width = [group for group in groups if group.side == 1], groups[0].width
    model.decoder.bias_xs[0].copy_(from_latent.bias[None, :, None, None])
    weight, bias = (p.unflatten(0, (2, -1)) for p in (to_latent.weight, to_latent.bias))
    ends = weight.shape[1] - torch.tensor([0, *(g.latents for g in reversed(vector))]).cumsum(0)
    if 0 not in ends:
        raise ValueError(
            "start_from_vae: the last groups at 1 x 1 must have as many latents together as the "
            f"VAE has, {weight.shape[1]}, got {[group.latents for group in vector]}."
        )
    for group, end in zip(reversed(vector), ends.tolist(), strict=False):
        head, part = group.enc[-1], slice(end - group.latents, end)
        head.weight.zero_()
        head.bias.zero_()
        if end > 0:
            head.weight[:, width:, 0, 0] = weight[:, part].flatten(0, 1)
            head.bias.copy_(bias[:, part].flatten())
            group.z_proj.weight.copy_(from_latent.weight[:, part, None, None])
    grid = next(group for group in groups if group.side > 1).enlarge
    grid[2].load_state_dict(to_grid.state_dict())
    depth = len(grid) - 4
    for mine, theirs in zip(grid[4:], maps[:depth], strict=True):
        mine.load_state_dict(theirs.state_dict())
    stages = [group.enlarge for group in groups if group.side > 1 and group.enlarge is not None][1:]
    tail: Any = model.decoder.tail
    head: Any = model.decoder.out_net
    stages += [*tail, *head.mean[:2]]
    for mine, theirs in zip(stages, maps[depth:-1], strict=True):
        mine.load_state_dict(theirs.state_dict())
