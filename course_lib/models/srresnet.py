"""SRResNet: from a low-resolution image straight to one answer, the mean of all that are likely."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from course_lib.models.blocks import at_least_float32, conv


class SRResNet(nn.Module):
    """x = N(y): residual blocks at low resolution, then pixels out of channels.

    Trained with the mean square error, its optimum is E[x | y]: the best PSNR that any method can
    have, and a blurred image where y leaves the details open. There is no randomness to sample.

    Args:
        factor: ratio of resolutions, a power of two.
        channels: maps in every layer.
        blocks: residual blocks.
        image_channels: 1 (grey) or 3 (colour).

    With factor 4, 64 channels, 16 blocks and colour it has the 1,549,462 parameters of the paper.

    Raises:
        ValueError: a factor that is not a power of two.

    Source: Ledig et al. 2017, arXiv:1609.04802.
    """

    def __init__(
        self, *, factor: int = 4, channels: int = 64, blocks: int = 16, image_channels: int = 1
    ) -> None:
        super().__init__()
        if factor < 2 or factor & (factor - 1):
            raise ValueError(f"SRResNet: factor must be 2, 4, 8, ..., got {factor}.")
        self.factor, self.image_channels = factor, image_channels
        self.first = nn.Sequential(conv(image_channels, channels, 9), nn.PReLU())
        self.body = nn.Sequential(
            *(NormalisedBlock(channels) for _ in range(blocks)),
            conv(channels, channels),
            nn.BatchNorm2d(channels),
        )
        self.enlarge = nn.Sequential(*(Doubling(channels) for _ in range(round(math.log2(factor)))))
        self.last = conv(channels, image_channels, 9)

    def forward(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c high_h high_w"]:
        """The enlarged image; nothing keeps it within [0, 1].

        Raises:
            ValueError: another number of channels.
        """
        if y.shape[1] != self.image_channels:
            raise ValueError(
                f"SRResNet: expected images of {self.image_channels} channels, got {y.shape[1]}."
            )
        first = self.first(y)
        return at_least_float32(self.last(self.enlarge(first + self.body(first))))


class NormalisedBlock(nn.Module):
    """x + norm(conv(prelu(norm(conv(x))))), the residual block of the paper."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            conv(channels, channels),
            nn.BatchNorm2d(channels),
            nn.PReLU(),
            conv(channels, channels),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps of the same shape."""
        return x + self.branch(x)


class Doubling(nn.Sequential):
    """Four times the channels by a convolution; each four become the 2 x 2 pixels of one map."""

    def __init__(self, channels: int) -> None:
        super().__init__(conv(channels, 4 * channels), nn.PixelShuffle(2), nn.PReLU())
