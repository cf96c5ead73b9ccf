"""Networks that repair images: applied tile by tile, and kept from what needs no repair."""

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


def keep_intact(network: Network, threshold: float = 3 / 255) -> Network:
    """The network, but pixels outside the mask stay as they are in images it hardly changes.

    A network that was trained on worn photographs smooths intact ones a little. If outside the
    mask its answer differs from the image by less than the threshold, the difference is more
    likely its own error than damage.

    Args:
        network: from images (B, C, H, W) and masks (B, 1, H, W), 1 where pixels are lost.
        threshold: root mean square change, in units of [0, 1]. Three grey levels were chosen on
            photographs of the training, where they cost the worn ones next to nothing.

    Raises:
        ValueError: a negative threshold.
    """
    if threshold < 0:
        raise ValueError(f"keep_intact: threshold must be at least 0, got {threshold}.")

    def restore(image: Tensor, mask: Tensor) -> Tensor:
        restored = network(image, mask)
        seen = (mask == 0).to(image.dtype).expand_as(image)
        change = (seen * (restored - image)).square().sum((1, 2, 3))
        change = (change / seen.sum((1, 2, 3)).clamp(min=1)).sqrt()
        kept = (change < threshold).view(-1, 1, 1, 1) & (mask == 0)
        return torch.where(kept, image, restored)

    return restore
