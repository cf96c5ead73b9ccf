"""Many small images as one picture."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from course_lib.data.picture_files import write_picture

MARGIN = 1  # white pixels around each image, before enlargement


def save(images: Tensor, path: Path, columns: int = 8, scale: int = 2) -> None:
    """Write images row by row as a PNG file; values outside [0, 1] are clipped.

    Args:
        images: (N, C, H, W) with C = 1 (grey) or 3 (colour).
        path: file to write; an old one is replaced whole.
        columns: number of images in a row.
        scale: side of the square that each pixel becomes.

    Raises:
        ValueError: another shape, or no image.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(
            "contact_sheet.save: expected images (N, C, H, W) with C = 1 or 3 and N >= 1, "
            f"got {tuple(images.shape)}."
        )
    columns = min(columns, len(images))
    tiles = pad(images.detach().float().cpu().nan_to_num().clamp(0, 1), (0, MARGIN) * 2, value=1.0)
    tiles = torch.cat([tiles, torch.ones_like(tiles[:1]).expand(-len(tiles) % columns, -1, -1, -1)])
    _, channels, height, width = tiles.shape
    sheet = tiles.view(-1, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    sheet = sheet.reshape(-1, columns * width, channels)
    sheet = pad(sheet, (0, 0, MARGIN, 0, MARGIN, 0), value=1.0)
    sheet = sheet.repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, sheet.movedim(-1, 0))
