"""The identity: only noise stands between x and y."""

from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.operators.base import LinearOperator
from course_lib.protocols import ImageSize, NoiseModel


@dataclass(frozen=True, eq=False)
class Denoising(LinearOperator):
    """A x = x, so that y = x + noise.

    Args:
        img_size: (C, H, W) of one image, in pixels.
    """

    img_size: ImageSize
    noise_model: NoiseModel | None = None

    @property
    def transfer(self) -> Tensor:
        """The constant 1: the identity is diagonal in every basis."""
        return torch.ones(1, 1)

    def norm(self) -> float:
        """1."""
        return 1.0

    def _apply(self, x: Tensor) -> Tensor:
        return x

    _adjoint = _dagger = _apply

    def _prox_l2(self, z: Tensor, y: Tensor, gamma: float) -> Tensor:
        return (gamma * y + z) / (1 + gamma)
