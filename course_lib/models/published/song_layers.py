"""Layers of the published U-Nets: residual blocks, resampling convolutions, embeddings."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, silu

EPS = 1e-6  # of the normalisations


class UNetBlock(nn.Module):
    """Two convolutions, the noise level added between them, and attention if asked for.

    Sums of two branches are divided by sqrt(2), which keeps their variance.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int,
        *,
        up: bool = False,
        down: bool = False,
        attention: bool = False,
        filter_taps: Sequence[float],
    ) -> None:
        super().__init__()
        resample = {"up": up, "down": down, "filter_taps": filter_taps}
        self.inputs, self.attends = inputs, attention
        self.norm0, self.norm1 = group_norm(inputs), group_norm(outputs)
        self.conv0, self.conv1 = Conv2d(inputs, outputs, 3, **resample), Conv2d(outputs, outputs, 3)
        self.affine = nn.Linear(width, outputs)
        changes = up or down or inputs != outputs
        self.skip = Conv2d(inputs, outputs, 1, **resample) if changes else None
        if attention:
            self.norm2 = group_norm(outputs)
            self.qkv, self.proj = Conv2d(outputs, 3 * outputs, 1), Conv2d(outputs, outputs, 1)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Maps (B, outputs, h, w), for embeddings (B, width) of the noise level."""
        h = self.conv0(silu(self.norm0(x))) + self.affine(noise)[:, :, None, None]
        h = self.conv1(silu(self.norm1(h)))
        x = (h + (x if self.skip is None else self.skip(x))) / math.sqrt(2)
        return (x + self._attend(x)) / math.sqrt(2) if self.attends else x

    def _attend(self, x: Tensor) -> Tensor:
        """One head; queries, keys and values take turns in the channels of `qkv`."""
        b, c, height, width = x.shape
        q, k, v = self.qkv(self.norm2(x)).view(b, c, 3, height * width).unbind(2)
        weights = (q.transpose(1, 2) @ k / math.sqrt(c)).softmax(dim=2)
        return self.proj((v @ weights.transpose(1, 2)).view(b, c, height, width))


class Conv2d(nn.Module):
    """A convolution, before or after which the resolution is doubled or halved by a filter.

    Args:
        fused: filter and convolution share one padding, of both together.
    """

    resample_filter: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        *,
        up: bool = False,
        down: bool = False,
        filter_taps: Sequence[float] = (1, 1),
        fused: bool = False,
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs * size**2)
        self.weight = nn.Parameter(torch.empty(outputs, inputs, size, size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.up, self.down, self.fused = up, down, fused
        taps = torch.tensor(filter_taps, dtype=torch.float32)
        kernel = torch.outer(taps, taps)[None, None] / taps.sum().square()
        self.register_buffer("resample_filter", kernel if up or down else None)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, outputs, h, w)."""
        padding = self.weight.shape[-1] // 2
        if self.fused:  # down only
            reach = padding + (self.resample_filter.shape[-1] - 1) // 2
            x = conv2d(x, self.weight, padding=reach)
            return self._shrink(x, 0) + self.bias[:, None, None]
        if self.up or self.down:
            reach = (self.resample_filter.shape[-1] - 1) // 2
            x = self._grow(x, reach) if self.up else self._shrink(x, reach)
        return conv2d(x, self.weight, self.bias, padding=padding)

    def _shrink(self, x: Tensor, padding: int) -> Tensor:
        kernel = self.resample_filter.expand(x.shape[1], -1, -1, -1)
        return conv2d(x, kernel, stride=2, padding=padding, groups=x.shape[1])

    def _grow(self, x: Tensor, padding: int) -> Tensor:
        kernel = (4 * self.resample_filter).expand(x.shape[1], -1, -1, -1)
        return conv_transpose2d(x, kernel, stride=2, padding=padding, groups=x.shape[1])


class PositionalEmbedding(nn.Module):
    """Sines, then cosines, of frequencies 1 to 1 / 10000."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.n_sines = channels // 2

    def forward(self, level: Tensor) -> Tensor:
        """(B,) to (B, channels)."""
        ramp = torch.arange(self.n_sines, dtype=level.dtype, device=level.device)
        angle = level[:, None] * (1 / 10_000) ** (ramp / (self.n_sines - 1))
        return torch.cat([angle.sin(), angle.cos()], dim=1)


class FourierEmbedding(nn.Module):
    """Sines, then cosines, of random frequencies, which are part of the weights."""

    freqs: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("freqs", 16 * torch.randn(channels // 2))

    def forward(self, level: Tensor) -> Tensor:
        """(B,) to (B, channels)."""
        angle = 2 * math.pi * level[:, None] * self.freqs
        return torch.cat([angle.sin(), angle.cos()], dim=1)


def group_norm(channels: int) -> nn.GroupNorm:
    """Groups of 4 channels or more, at most 32 groups."""
    return nn.GroupNorm(min(32, channels // 4), channels, eps=EPS)
