"""Some pixels are lost."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from course_lib.batch import image_size
from course_lib.operators.base import LinearOperator
from course_lib.protocols import ImageSize, NoiseModel


@dataclass(frozen=True, eq=False)
class Inpainting(LinearOperator):
    """A x = mask * x: a diagonal of ones (seen) and zeros (lost).

    The measurement keeps the size of the image and is zero where nothing was seen, also under
    noise; the mask says where that is, so a black pixel stays a measurement.

    Args:
        mask: (C, H, W), True or 1 where a pixel is seen. For one mask on three channels use
            mask.expand(3, -1, -1).

    Raises:
        ValueError: another shape, values other than 0 and 1, or nothing seen at all.
    """

    mask: Tensor
    noise_model: NoiseModel | None = None

    def __post_init__(self) -> None:
        if self.mask.ndim != 3:
            raise ValueError(
                f"Inpainting: expected a mask of shape (C, H, W), got {tuple(self.mask.shape)}. "
                "For a grey image use mask[None]; for colour mask.expand(3, -1, -1)."
            )
        if not ((self.mask == 0) | (self.mask == 1)).all():
            raise ValueError("Inpainting: the mask must hold only 0 (lost) and 1 (seen).")
        if not self.mask.any():
            raise ValueError("Inpainting: the mask is empty, so nothing is measured at all.")

    @property
    def img_size(self) -> ImageSize:
        """Shape of the mask."""
        return image_size(self.mask)

    @property
    def n_measured(self) -> int:
        """The pixels that are seen."""
        return int(self.mask.sum())

    def norm(self) -> float:
        """1."""
        return 1.0

    def __call__(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """As of every operator; lost pixels are 0, also under noise."""
        return self._apply(super().__call__(x, generator=generator))

    def _apply(self, x: Tensor) -> Tensor:
        return torch.where(self.mask.bool(), x, 0)

    _adjoint = _dagger = _apply

    def _prox_l2(self, z: Tensor, y: Tensor, gamma: float) -> Tensor:
        return torch.where(self.mask.bool(), (z + gamma * y) / (1 + gamma), z)


def central_hole(
    img_size: ImageSize, side: int, noise_model: NoiseModel | None = None
) -> Inpainting:
    """Inpainting of a square of `side` pixels in the middle of an image."""
    _, height, width = img_size
    top, left = (height - side) // 2, (width - side) // 2
    mask = torch.ones(img_size)
    mask[:, top : top + side, left : left + side] = 0
    return Inpainting(mask, noise_model)
