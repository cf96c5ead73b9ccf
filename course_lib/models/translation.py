"""Restoration as translation between two latent spaces: of damaged and of clean photographs."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from course_lib.models.blocks import ResidualBlock, check_multiple, conv, scaled
from course_lib.models.vae import VAE
from course_lib.models.vae_networks import conv_vae


class PartialNonLocal(nn.Module):
    """Fills the features of a hole from the features outside it; leaves those outside alone.

    Every position compares itself with all valid positions, S = softmax(query key^T) over valid
    keys only, and gathers S g(x). Inside the hole the gathered features go through residual
    blocks; outside, the input is returned as it came.

    Source: Wan et al. 2020, arXiv:2004.09484, section 3.3.
    """

    def __init__(self, channels: int, blocks: int = 2) -> None:
        super().__init__()
        inner = max(channels // 2, 1)
        self.query, self.key = conv(channels, inner, 1), conv(channels, inner, 1)
        self.value = conv(channels, inner, 1)
        self.back = scaled(conv(inner, channels, 1), 0.0, 0.0)
        self.refine = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))

    def attention(
        self, x: Float[Tensor, "b c h w"], hole: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, "b n n"]:
        """S (positions x positions): rows sum to 1, columns inside the hole are 0.

        Where the hole is everything there is nothing to gather from: the rows are 0.
        """
        query, key = self.query(x).flatten(2), self.key(x).flatten(2)
        scores = query.transpose(1, 2) @ key / query.shape[1] ** 0.5
        lost = hole.flatten(2) > 0
        return scores.masked_fill(lost, -torch.inf).softmax(-1).nan_to_num(0.0)

    def forward(
        self, x: Float[Tensor, "b c h w"], hole: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, "b c h w"]:
        """x with the features of the hole (hole > 0) filled."""
        gathered = self.value(x).flatten(2) @ self.attention(x, hole).transpose(1, 2)
        filled = self.refine(x + self.back(gathered.unflatten(2, x.shape[2:])))
        return torch.where(hole > 0, filled, x)


class Mapping(nn.Module):
    """T: latents of damaged images to latents of clean ones, with the hole filled on the way."""

    def __init__(self, latent_channels: int, width: int, blocks: int) -> None:
        super().__init__()
        half = blocks // 2
        self.widen = conv(latent_channels, width)
        self.before = nn.Sequential(*(ResidualBlock(width) for _ in range(half)))
        self.fill = PartialNonLocal(width)
        self.after = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks - half)))
        self.narrow = conv(width, latent_channels)

    def forward(
        self, z: Float[Tensor, "b d h w"], hole: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, "b d h w"]:
        """T(z)."""
        features = self.fill(self.before(self.widen(z)), hole)
        return z + self.narrow(silu(self.after(features)))


class LatentTranslation(nn.Module):
    """Encode with the VAE of damaged images, translate, decode with the VAE of clean images.

    The two autoencoders need no pairs: they may see real old photographs, of which no clean
    version exists. Only the mapping between the latents is learned from pairs.

    Source: Wan et al. 2020, arXiv:2004.09484.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int] = (32, 64),
        latent_channels: int = 16,
        width: int = 64,
        blocks: int = 6,
        image_channels: int = 1,
    ) -> None:
        super().__init__()
        sizes = {"channels": channels, "latent_channels": latent_channels, "tail": 24}
        size = (image_channels, 64, 64)
        self.damaged: VAE = conv_vae(**sizes, img_size=size)
        self.clean: VAE = conv_vae(**sizes, img_size=size)
        self.mapping = Mapping(latent_channels, width, blocks)
        self.stride = 2 ** len(channels)

    def translate(
        self, z: Float[Tensor, "b d h w"], mask: Float[Tensor, "b 1 H W"] | None
    ) -> Float[Tensor, "b d h w"]:
        """T(z); a latent counts as lost if any pixel below it is."""
        if mask is None:
            hole = torch.zeros_like(z[:, :1])
        else:
            hole = (interpolate(mask, z.shape[-2:], mode="area") > 0).to(z.dtype)
        return self.mapping(z, hole)

    def forward(
        self,
        x: Float[Tensor, "b c h w"],
        mask: Float[Tensor, "b 1 h w"] | None = None,
    ) -> Float[Tensor, "b c h w"]:
        """Restored images. mask is 1 where pixels are lost; None: nothing is.

        Raises:
            ValueError: height or width is not a multiple of `stride`.
        """
        check_multiple("LatentTranslation", x, self.stride)
        return self.clean.decode(self.translate(self.damaged.encode(x).mean, mask)).mean
