"""The data term of pixels that are known, with a mask for each image of a batch."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from course_lib.functionals.base import Functional


@dataclass(frozen=True, eq=False)
class MaskedLeastSquares(Functional):
    """f(u) = 1/2 |M (u - y)|^2, gradient M (u - y), for masks M of 0 (unknown) and 1 (known).

    `LeastSquares` with `Inpainting` is the same for one mask that all images share.

    Args:
        y: images, (B, C, H, W).
        mask: (B, 1, H, W) or (B, C, H, W).
    """

    y: Float[Tensor, "b c h w"]
    mask: Float[Tensor, "b #c h w"]
    lipschitz: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """Value of each image, (B,)."""
        return (self.mask * (x - self.y)).square().flatten(1).sum(1) / 2

    def grad(self, x: Tensor) -> Tensor:
        """Gradient, of the shape of x."""
        return self.mask * (x - self.y)

    def hvp(self, v: Tensor) -> Tensor:
        """M v."""
        return self.mask * v
