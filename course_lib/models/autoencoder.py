"""Autoencoders: principal components, and a convolutional one that is trained to repair."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.models.blocks import (
    Centre,
    ResidualBlock,
    at_least_float32,
    check_multiple,
    conv,
    down_stage,
    up_stage,
)


class LinearAutoencoder(nn.Module):
    """x -> b + W V (x - b): the best one projects on the leading principal components.

    Args:
        n: numbers in one image.
        latent_dim: k, columns of W.

    Source: Baldi & Hornik 1989, doi:10.1016/0893-6080(89)90014-2.
    """

    def __init__(self, n: int, latent_dim: int) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(n))
        self.encoder = nn.Linear(n, latent_dim, bias=False)
        self.decoder = nn.Linear(latent_dim, n, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to its reconstruction, of the same shape."""
        return (self.centre + self.decoder(self.encoder(x.flatten(1) - self.centre))).view_as(x)

    @classmethod
    def principal_components(cls, x: Tensor, latent_dim: int) -> "LinearAutoencoder":
        """The optimum in closed form, for the images x (N, C, H, W).

        Raises:
            ValueError: more components than images or pixels.
        """
        rows = x.flatten(1)
        if not 1 <= latent_dim <= min(rows.shape):
            raise ValueError(
                f"principal_components: expected 1 <= latent_dim <= {min(rows.shape)} "
                f"({len(rows)} images of {rows.shape[1]} numbers), got {latent_dim}."
            )
        model = cls(rows.shape[1], latent_dim).to(rows)
        centre = rows.mean(0)
        components = torch.linalg.svd(rows - centre, full_matrices=False).Vh[:latent_dim]
        with torch.no_grad():
            model.centre.copy_(centre)
            model.encoder.weight.copy_(components)
            model.decoder.weight.copy_(components.T)
        return model


class DenoisingAutoencoder(nn.Module):
    """From a damaged image and the mask of its holes to the mean of what it may have been.

    Trained with the squared error on pairs (clean, damaged) its optimum is E[x | damaged]. Every
    stage of the encoder is also handed to the decoder ("skips"): what is not damaged need not
    pass through the bottleneck. Without them it is the plain autoencoder of the same size.

    Args:
        channels: channels of the stages; the bottleneck has 1 / 2^len(channels) of the resolution.
        blocks: residual blocks a stage.
        skips: hand encoder stages to the decoder.
        image_channels: C.

    Source: Vincent et al. 2010, jmlr.org/papers/v11/vincent10a.html; skips as in Ronneberger,
    Fischer & Brox 2015, doi:10.1007/978-3-319-24574-4_28.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int] = (32, 64, 96),
        blocks: int = 2,
        skips: bool = True,
        image_channels: int = 1,
    ) -> None:
        super().__init__()
        self.skips, self.stride = skips, 2 ** len(channels)
        widths = (max(channels[0] // 2, 8), *channels)
        self.inputs = nn.Sequential(Centre(), conv(image_channels + 1, widths[0]))
        self.down = nn.ModuleList(down_stage(a, b, blocks) for a, b in pairwise(widths))
        self.middle = nn.Sequential(*(ResidualBlock(widths[-1]) for _ in range(blocks)))
        self.up = nn.ModuleList(up_stage(b, a, blocks) for a, b in reversed([*pairwise(widths)]))
        self.outputs = nn.Sequential(nn.SiLU(), conv(widths[0], image_channels))

    def forward(
        self,
        x: Float[Tensor, "b c h w"],
        mask: Float[Tensor, "b 1 h w"] | None = None,
    ) -> Float[Tensor, "b c h w"]:
        """Restored images. mask is 1 where pixels are lost; None: nothing is.

        Raises:
            ValueError: height or width is not a multiple of `stride`.
        """
        check_multiple("DenoisingAutoencoder", x, self.stride)
        if mask is None:
            mask = torch.zeros_like(x[:, :1])
        features = self.inputs(torch.cat([x, mask], dim=1))
        trail = []
        for stage in self.down:
            trail.append(features)
            features = stage(features)
        features = self.middle(features)
        for stage in self.up:
            features = stage(features)
            handed_over = trail.pop()
            if self.skips:
                features = features + handed_over
        change = 0.5 * at_least_float32(self.outputs(features))
        return x + change if self.skips else 0.5 + change
