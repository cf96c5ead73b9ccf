"""The parts of a picture that are worth computing, kept as a list of small square cells."""

from typing import NamedTuple

import torch
from torch import Tensor


class Cells(NamedTuple):
    """Some of the side x side cells of each picture, as many in each: index (B, K)."""

    index: Tensor
    side: int

    @classmethod
    def where(cls, mask: Tensor) -> "Cells":
        """The cells where a mask (B, side, side) is true; some others fill up the list."""
        mask = mask.flatten(1)
        most = max(1, int(mask.sum(1).max()))
        return cls(torch.argsort(~mask, dim=1, stable=True)[:, :most], round(mask.shape[1] ** 0.5))

    def take(self, grid: Tensor, per_side: int) -> Tensor:
        """The pixels of the cells, (B, C, K n²), of pictures (B, C, side n, side n).

        n is per_side, how many pixels a cell is wide.
        """
        blocks = self._blocks(grid, per_side)
        where = self.index[:, None, :, None].expand(-1, blocks.shape[1], -1, per_side**2)
        return blocks.gather(2, where).flatten(2)

    def put(self, values: Tensor, per_side: int, background: Tensor) -> Tensor:
        """The reverse of `take`: a copy of the background with the cells' pixels overwritten."""
        blocks = self._blocks(background, per_side)
        where = self.index[:, None, :, None].expand(-1, blocks.shape[1], -1, per_side**2)
        blocks = blocks.scatter(2, where, values.view(where.shape))
        blocks = blocks.view(*blocks.shape[:2], self.side, self.side, per_side, per_side)
        return blocks.transpose(3, 4).reshape(background.shape)

    def _blocks(self, grid: Tensor, n: int) -> Tensor:
        """(B, C, side n, side n) to (B, C, side², n²)."""
        return (
            grid.view(*grid.shape[:2], self.side, n, self.side, n)
            .transpose(3, 4)
            .reshape(*grid.shape[:2], self.side**2, n * n)
        )
