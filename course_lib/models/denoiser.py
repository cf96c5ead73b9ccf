"""Networks that remove Gaussian noise of any level: the heart of a diffusion model."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from course_lib.batch import per_image
from course_lib.models.blocks import at_least_float32, check_multiple, check_shape, conv, scaled

GROUPS = 8  # of channels that are normalised together
FREQUENCIES = 32  # of the embedding of log(sigma) / 4: at most 2 radians in log(sigma), so that the
SLOWEST, FASTEST = 0.25, 8.0  # network is smooth in it, and a probability flow takes long steps


class PreconditionedDenoiser(nn.Module):
    r"""D(x, sigma), an estimate of E[x_0 | x_0 + sigma w = x], for images in [0, 1].

    With m and s the mean and standard deviation of a pixel of the data,

        D = m + s^2 / (sigma^2 + s^2) (x - m) + sigma s / sqrt(sigma^2 + s^2) F(y, sigma / s),
        y = (x - m) / sqrt(sigma^2 + s^2).

    The first two terms are the best denoiser of white Gaussian images; F, the network, adds what
    is known beyond mean and variance. Its input and its target have unit variance at every noise
    level, if s is the true one.

    Args:
        network: F, from images (B, C, H, W) and log(sigma / s) / 4, (B,), to images.
        data_mean, data_std: m and s, measured on the data.
        img_size: (C, H, W) of the images that it is trained on.
        stride: height and width must be multiples of it.

    Source: Karras et al. 2022, arXiv:2206.00364, section 5.
    """

    sigma_max = 10.0  # about 50 s: hardly any image of the course's training has more noise

    def __init__(
        self,
        network: nn.Module,
        *,
        data_mean: float,
        data_std: float,
        img_size: Sequence[int],
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.network, self.stride = network, stride
        self.data_mean, self.data_std = float(data_mean), float(data_std)
        self.img_size = tuple(img_size)

    def forward(
        self, x: Float[Tensor, "b c h w"], sigma: float | Tensor
    ) -> Float[Tensor, "b c h w"]:
        """D(x, sigma), for a noise level > 0 of all images or one for each, (B,).

        Raises:
            ValueError: an image that the network was not made for.
        """
        check_shape("PreconditionedDenoiser", x, (self.img_size[0], "H", "W"))
        check_multiple("PreconditionedDenoiser", x, self.stride)
        sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(len(x))
        level, s = per_image(sigma, x), self.data_std
        spread = (level.square() + s**2).sqrt()
        offset = x - self.data_mean
        found = at_least_float32(self.network(offset / spread, (sigma / s).log() / 4))
        return self.data_mean + s**2 / spread.square() * offset + level * s / spread * found


def unet_denoiser(
    *,
    data_mean: float,
    data_std: float,
    channels: Sequence[int] = (32, 64, 96),
    blocks: int = 2,
    img_size: Sequence[int] = (1, 32, 32),
) -> PreconditionedDenoiser:
    """A U-Net of residual blocks that are told the noise level, with attention at the bottom.

    Args:
        data_mean, data_std, img_size: as in `PreconditionedDenoiser`.
        channels: number at each resolution, from fine to coarse, halved from one to the next.
        blocks: number at each resolution on the way down, and one more on the way up.
    """
    return PreconditionedDenoiser(
        UNet(channels, blocks, img_size[0]),
        data_mean=data_mean,
        data_std=data_std,
        img_size=img_size,
        stride=2 ** (len(channels) - 1),
    )


class UNet(nn.Module):
    """Down to the coarsest resolution and up again, past a bridge at every block.

    Source: Ronneberger, Fischer & Brox 2015, doi:10.1007/978-3-319-24574-4_28.
    """

    def __init__(self, channels: Sequence[int], blocks: int, image_channels: int) -> None:
        super().__init__()
        width = 4 * FREQUENCIES
        self.embedding = NoiseEmbedding(width)
        self.inlet = conv(image_channels, channels[0])
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        bridges, c = [channels[0]], channels[0]
        for depth, outputs in enumerate(channels):
            if depth:
                self.down.append(conv(c, c, stride=2))
                bridges.append(c)
            for _ in range(blocks):
                self.down.append(NoiseBlock(c, outputs, width))
                bridges.append(c := outputs)
        self.bottom = nn.ModuleList(
            [NoiseBlock(c, c, width), Attention(c), NoiseBlock(c, c, width)]
        )
        for depth, outputs in reversed(list(enumerate(channels))):
            for _ in range(blocks + 1):
                self.up.append(NoiseBlock(c + bridges.pop(), outputs, width))
                c = outputs
            if depth:
                self.up.append(nn.Sequential(nn.Upsample(scale_factor=2), conv(c, c)))
        last = scaled(conv(c, image_channels), 0.0)
        self.outlet = nn.Sequential(nn.GroupNorm(GROUPS, c), nn.SiLU(), last)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """F(x, level), for levels (B,)."""
        noise = self.embedding(level)

        def apply(layer: nn.Module, h: Tensor) -> Tensor:
            return layer(h, noise) if isinstance(layer, NoiseBlock) else layer(h)

        bridges = [h := self.inlet(x)]
        for layer in self.down:
            bridges.append(h := apply(layer, h))
        for layer in self.bottom:
            h = apply(layer, h)
        for layer in self.up:
            joined = isinstance(layer, NoiseBlock)
            h = apply(layer, torch.cat([h, bridges.pop()], dim=1) if joined else h)
        return self.outlet(h)


class NoiseEmbedding(nn.Module):
    """A number to `width` numbers: slow and faster sines and cosines, then two layers."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        frequencies = torch.logspace(math.log10(SLOWEST), math.log10(FASTEST), FREQUENCIES)
        self.register_buffer("frequencies", frequencies)
        self.layers = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )

    def forward(self, level: Tensor) -> Tensor:
        """(B,) to (B, width)."""
        angle = level[:, None] * self.frequencies
        return self.layers(torch.cat([angle.sin(), angle.cos()], dim=1))


class NoiseBlock(nn.Module):
    """A residual block whose normalised features are scaled and shifted by the noise level.

    One normalisation a block: with two, they cost a CPU more than the convolutions.
    """

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.first, self.second = conv(inputs, outputs), scaled(conv(outputs, outputs), 0.0)
        self.norm, self.modulate = nn.GroupNorm(GROUPS, outputs), nn.Linear(width, 2 * outputs)
        self.skip = nn.Identity() if inputs == outputs else conv(inputs, outputs, 1)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Maps (B, outputs, h, w), for embeddings (B, width) of the noise level."""
        scale, shift = self.modulate(noise)[:, :, None, None].chunk(2, dim=1)
        h = self.norm(self.first(silu(x))) * (1 + scale) + shift
        return self.skip(x) + self.second(silu(h))


class Attention(nn.Module):
    """Every place looks at every other one, with two heads."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.ask = conv(channels, 3 * channels, 1)
        self.answer = scaled(conv(channels, channels, 1), 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Maps of the same shape."""
        b, c, height, width = x.shape
        heads = self.ask(self.norm(x)).view(b, 3, 2, c // 2, height * width).transpose(-1, -2)
        mixed = scaled_dot_product_attention(*heads.unbind(1))
        return x + self.answer(mixed.transpose(-1, -2).reshape(b, c, height, width))
