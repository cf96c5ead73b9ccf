"""Where is a photograph damaged? A network that draws the mask which a restoration needs."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.models.blocks import at_least_float32
from course_lib.models.unet import ResidualUNet


class DamageDetector(nn.Module):
    """Pixel by pixel the probability of scratches, folds, stains, dust and missing corners.

    A network that is trained by the cross-entropy has its optimum at the probability that a pixel
    is covered, given the picture around it. What is told is the lack of content: a white line that
    belongs to the scene is not damage, and only the scene can tell.

    Args:
        channels, blocks: as in `ResidualUNet`.

    Source: Wan et al. 2020, arXiv:2004.09484 (a U-Net on synthetic scratches).
    """

    img_size = (1, 64, 64)

    def __init__(self, *, channels: Sequence[int] = (16, 32, 64), blocks: int = 1) -> None:
        super().__init__()
        self.network = ResidualUNet(1, 1, channels=channels, blocks=blocks)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
        """Log odds of damage at each pixel, of pictures in [0, 1], grey or in colour, any size.

        Raises:
            ValueError: not a batch of pictures of 1 or 3 channels.
        """
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ValueError(
                f"DamageDetector: expected pictures (B, 1 or 3, H, W), got {tuple(x.shape)}."
            )
        return at_least_float32(self.network(x.mean(1, keepdim=True) - 0.5))

    @torch.no_grad()
    def probability(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
        """Of damage, at each pixel."""
        return self(x).sigmoid()
