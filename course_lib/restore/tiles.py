"""A network for small images, applied to a large one tile by tile."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import fold, pad

Network = Callable[[Tensor, Tensor], Tensor]  # (image, mask) -> restored image


def apply_in_tiles(
    network: Network,
    x: Float[Tensor, "b c h w"],
    mask: Float[Tensor, "b 1 h w"] | None = None,
    *,
    tile: int = 64,
    overlap: int = 16,
    batch: int = 64,
) -> Float[Tensor, "b c h w"]:
    """Restored images: every tile through the network, neighbours blended where they overlap.

    The weight of a tile falls linearly to its border within the overlap, so that seams fade. Sides
    that the tiles do not fill are extended by reflection and cut off again.

    Args:
        network: from tiles (n, C, tile, tile) and their masks (n, 1, tile, tile) to restored tiles.
        x: images, at least `tile` / 2 + 1 pixels on each side.
        mask: handed to the network with each tile; None: all 0.
        tile: side of a tile, in pixels.
        overlap: of neighbouring tiles, in pixels, at most half of a tile.
        batch: tiles that go through the network at once.

    Raises:
        ValueError: an overlap that does not fit, or images that are too small.
    """
    if not 0 <= overlap <= tile // 2:
        raise ValueError(
            f"apply_in_tiles: overlap must be in 0 .. {tile // 2} for tile {tile}: {overlap}."
        )
    height, width = x.shape[-2:]
    step = tile - overlap
    missing = [max(tile - side, 0) or (tile - side) % step for side in (height, width)]
    if any(extra >= side for extra, side in zip(missing, (height, width), strict=True)):
        raise ValueError(
            f"apply_in_tiles: images of {height} x {width} are too small for tiles of {tile}; "
            "make `tile` smaller."
        )
    mask = torch.zeros_like(x[:, :1]) if mask is None else mask
    stack = pad(torch.cat([x, mask], dim=1), (0, missing[1], 0, missing[0]), mode="reflect")
    size = stack.shape[-2:]
    tiles = stack.unfold(2, tile, step).unfold(3, tile, step)  # b, c + 1, rows, columns, tile, tile
    grid = tiles.shape[2:4]
    tiles = tiles.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    restored = torch.cat([network(part[:, :-1], part[:, -1:]) for part in tiles.split(batch)])

    ramp = torch.arange(1, tile + 1, dtype=x.dtype, device=x.device)
    ramp = torch.minimum(ramp, ramp.flip(0)).clamp(max=overlap + 1)
    weight = ramp[:, None] * ramp

    def assemble(pieces: Tensor) -> Tensor:
        columns = pieces.unflatten(0, (-1, grid[0] * grid[1])).flatten(2).transpose(1, 2)
        return fold(columns, size, tile, stride=step)

    blended = assemble(restored * weight) / assemble(weight.expand(len(tiles), 1, -1, -1))
    return blended[..., :height, :width]
