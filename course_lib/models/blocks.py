"""Layers and checks that the convolutional networks of the course share."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from course_lib.metrics.images import signed_to_unit, unit_to_signed


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the image size, but for its stride."""
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2)


def scaled(layer: nn.Conv2d, weight: float, bias: float | None = None) -> nn.Conv2d:
    """The layer, with its fresh weights scaled and every entry of its bias set, if one is given."""
    with torch.no_grad():
        layer.weight *= weight
        if bias is not None and layer.bias is not None:
            layer.bias.fill_(bias)
    return layer


class ResidualBlock(nn.Module):
    """x + conv(silu(conv(silu(x)))), close to the identity when training starts.

    The second convolution is scaled down instead of normalising activations: normalisation costs
    more than the convolutions on a CPU, and lets a network see the brightness of other pixels.

    Source: He et al. 2016, doi:10.1007/978-3-319-46493-0_38 (pre-activation).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = scaled(conv(channels, channels), 0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Maps of the same shape."""
        return x + self.second(silu(self.first(silu(x))))


def down_stage(
    inputs: int, outputs: int, blocks: int, size: int = 3, stride: int = 2
) -> nn.Sequential:
    """Half the resolution (by default), then residual blocks."""
    return nn.Sequential(
        conv(inputs, outputs, size, stride), *(ResidualBlock(outputs) for _ in range(blocks))
    )


def up_stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    """Twice the resolution, then residual blocks.

    Nearest-neighbour upsampling and a convolution: a transposed convolution leaves a checkerboard.
    """
    return nn.Sequential(
        nn.Upsample(scale_factor=2),
        conv(inputs, outputs),
        *(ResidualBlock(outputs) for _ in range(blocks)),
    )


def encoder(channels: Sequence[int], outputs: int, *, blocks: int, inputs: int) -> nn.Sequential:
    """An image in [0, 1] to `outputs` maps at 1 / 2^len(channels) of its resolution."""
    stages = [
        down_stage(a, b, blocks if depth else 1, size=3 if depth else 5)
        for depth, (a, b) in enumerate(zip((inputs, *channels), channels, strict=False))
    ]
    return nn.Sequential(Centre(), *stages, nn.SiLU(), conv(channels[-1], outputs, 1))


def decoder(
    channels: Sequence[int], inputs: int, *, blocks: int, outputs: int, tail: int = 16
) -> nn.Sequential:
    """The way back: latent maps to an image around [0, 1], with no squashing at the end.

    A bounded output would kill the gradient wherever an optimisation over latents leaves [0, 1].
    """
    up = channels[::-1]
    return nn.Sequential(
        conv(inputs, up[0]),
        *(ResidualBlock(up[0]) for _ in range(blocks)),
        *(up_stage(a, b, blocks) for a, b in pairwise(up)),
        nn.SiLU(),
        nn.Upsample(scale_factor=2),
        conv(up[-1], tail),
        nn.SiLU(),
        conv(tail, outputs),
        Uncentre(),
    )


class Centre(nn.Module):
    """[0, 1] to [-1, 1], the range in which networks train best."""

    def forward(self, x: Tensor) -> Tensor:
        """2 x - 1."""
        return unit_to_signed(x)


class Standardise(nn.Module):
    """(x - mean) / std for two numbers, in units of the image: what published networks expect."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x: Tensor) -> Tensor:
        """(x - mean) / std."""
        return (x - self.mean) / self.std


class Uncentre(nn.Module):
    """[-1, 1] to [0, 1], in float32 whatever precision the convolutions ran in."""

    def forward(self, x: Tensor) -> Tensor:
        """(x + 1) / 2."""
        return signed_to_unit(at_least_float32(x))


def at_least_float32(x: Tensor) -> Tensor:
    """x, out of half precision: sums over pixels and exponentials need more than 8 bits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def check_shape(
    name: str,
    x: Tensor,
    shape: Sequence[int | str],
    remedy: str = "",
    what: str = "images of shape",
) -> None:
    """Refuse a batch of another shape than (B, *shape), where a letter stands for any number."""
    pairs = zip(x.shape[1:], shape, strict=False)
    if x.ndim != len(shape) + 1 or any(n != m for n, m in pairs if isinstance(m, int)):
        raise ValueError(
            f"{name}: expected {what} (B, {', '.join(map(str, shape))}), got "
            f"{tuple(x.shape)}.{remedy}"
        )


def check_multiple(name: str, x: Tensor, stride: int) -> None:
    """Refuse an image whose sides a network's stages would not halve evenly."""
    height, width = x.shape[-2:]
    if height % stride or width % stride:
        raise ValueError(
            f"{name}: height and width must be multiples of {stride}, got {height} x {width}. "
            f"Crop to {height - height % stride} x {width - width % stride}, or pad by reflection."
        )
