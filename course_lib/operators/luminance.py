"""Three colours seen as one: the forward operator of colourisation."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.operators.base import LinearOperator
from course_lib.protocols import ImageSize, NoiseModel

WEIGHTS = (0.2125, 0.7154, 0.0721)  # of red, green, blue
ENERGY = sum(w * w for w in WEIGHTS)  # |w|^2


@dataclass(frozen=True, eq=False)
class Luminance(LinearOperator):
    """A x = w . x at every pixel, (3, H, W) -> (1, H, W): the grey image of a colour image.

    A A^T = |w|^2 I, hence A^+ y = w y / |w|^2, and the proximal map moves each pixel along w.
    Grey of value t, (t, t, t), is measured as t, since the weights sum to one; A^+ y, of least
    norm, is greenish instead.

    Args:
        img_size: (3, H, W) of one image, in pixels.

    Raises:
        ValueError: not three channels.

    Source: the weights of skimage.color.rgb2gray, after ITU-R recommendation BT.709 and
    Poynton's "Color FAQ", http://poynton.ca/PDFs/ColorFAQ.pdf.
    """

    img_size: ImageSize
    noise_model: NoiseModel | None = None

    def __post_init__(self) -> None:
        if self.img_size[0] != len(WEIGHTS):
            raise ValueError(
                f"Luminance: expected colour images of (3, H, W), got {tuple(self.img_size)}. "
                "A grey image has its luminance already: take Denoising."
            )

    @property
    def measurement_size(self) -> ImageSize:
        """One channel."""
        return 1, *self.img_size[1:]

    def norm(self) -> float:
        """Length of the vector of weights."""
        return math.sqrt(ENERGY)

    def _apply(self, x: Tensor) -> Tensor:
        return (_weights(x) * x).sum(-3, keepdim=True)

    def _adjoint(self, y: Tensor) -> Tensor:
        return _weights(y) * y

    def _dagger(self, y: Tensor) -> Tensor:
        return self._adjoint(y) / ENERGY

    def _prox_l2(self, z: Tensor, y: Tensor, gamma: float) -> Tensor:
        return z + gamma / (1 + gamma * ENERGY) * self._adjoint(y - self._apply(z))


def _weights(like: Tensor) -> Tensor:
    """w as (3, 1, 1)."""
    return torch.tensor(WEIGHTS, dtype=like.dtype, device=like.device).view(-1, 1, 1)
