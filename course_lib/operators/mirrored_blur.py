"""Convolution with a point-spread function, the image mirrored beyond its borders."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from course_lib.operators.base import LinearOperator
from course_lib.operators.blur import Blur
from course_lib.operators.point_spread import wrap_kernel
from course_lib.protocols import ImageSize, NoiseModel


def mirror(x: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h2 w2"]:
    """The periodic image (2 H, 2 W) that continues beyond each border as its mirror image."""
    x = torch.cat([x, x.flip(-1)], dim=-1)
    return torch.cat([x, x.flip(-2)], dim=-2)


@dataclass(frozen=True, eq=False)
class MirroredBlur(LinearOperator):
    """A x = (h * mirror(x)), cut to the size of x: no seam between opposite borders, unlike `Blur`.

    For a kernel that is symmetric in both axes, the blurred mirror image is a mirror image again,
    so that two such blurs commute and compose as on the plane.

    Args:
        kernel: (1, 1, h, w), centre at (h // 2, w // 2); wrapped around if it is larger than the
            mirrored image.
        img_size: (C, H, W) of one image, in pixels.
    """

    kernel: Float[Tensor, "1 1 h w"]
    img_size: ImageSize
    noise_model: NoiseModel | None = None

    @cached_property
    def blur(self) -> Blur:
        """The periodic blur of the mirrored image."""
        channels, height, width = self.img_size
        size = (2 * height, 2 * width)
        return Blur(wrap_kernel(self.kernel, size), (channels, *size))

    def _apply(self, x: Tensor) -> Tensor:
        return self.blur.A(mirror(x))[..., : x.shape[-2], : x.shape[-1]]

    def _adjoint(self, y: Tensor) -> Tensor:
        _, height, width = self.img_size
        whole = self.blur.A_adjoint(pad(y, (0, width, 0, height)))
        rows = whole[..., :height, :] + whole[..., height:, :].flip(-2)
        return rows[..., :width] + rows[..., width:].flip(-1)
