"""The hour-glass network of the deep image prior, one network for each image of a batch.

It maps noise to an image and is fitted to a single measurement, so that every image needs weights
of its own. All parameters have a leading axis for the images, and a batch of networks runs as one:
their convolutions are the groups of a grouped convolution.
"""

import copy
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import batch_norm, conv2d, interpolate, leaky_relu_, pad

from course_lib.rng import check_generator


class SkipNetwork(nn.Module):
    """Noise (n, inputs, H, W) to images (n, outputs, H, W) in [0, 1], each by its own weights.

    Each scale halves the resolution, hands what lies below to the next scale, and brings it back
    to its own size, where a few channels that skipped the way down join it:

        x ---- conv3, stride 2 - conv3 - next scale - up ---- conv3 - conv1 --->
         \\--------------- conv1 (skip) ----------------/

    Every convolution but the last is followed by normalisation and leaky_relu; the last one by a
    sigmoid. Borders are extended by reflection. Sides need not be powers of two.

    Args:
        outputs: channels of an image.
        inputs: channels of the noise.
        channels: one number for each scale, from fine to coarse.
        skip: channels of the skip connections; 0: none. On a CPU multiples of 8 in sum with
            `channels` are twice as fast as others.
        upsampling: "bilinear" for smooth images, "nearest" for large holes.
        generator: source of the weights, uniform with variance 1 / (3 fan_in), as PyTorch has it.

    Raises:
        ValueError: no scale, another name of upsampling, or in use: an image that is too small,
            or another number of inputs than of networks.

    Source: Ulyanov, Vedaldi & Lempitsky 2018, arXiv:1711.10925, figure 21 (with 128 channels,
    4 that skip, and 5 scales).
    """

    def __init__(
        self,
        outputs: int = 1,
        *,
        inputs: int = 32,
        channels: Sequence[int] = (16, 16, 16, 16),
        skip: int = 8,
        upsampling: str = "bilinear",
        generator: Generator,
    ) -> None:
        super().__init__()
        check_generator("SkipNetwork", generator)
        if not channels or min(channels) < 1:
            raise ValueError(
                f"SkipNetwork: channels lists one positive number for each scale, got {channels}."
            )
        if upsampling not in ("bilinear", "nearest"):
            raise ValueError(
                f"SkipNetwork: upsampling must be 'bilinear' or 'nearest', got {upsampling!r}."
            )
        self.inputs, self.outputs, self.scales = inputs, outputs, len(channels)
        inner: nn.Module = nn.Identity()
        widths = (inputs, *channels)
        for depth in reversed(range(self.scales)):
            back = channels[min(depth + 1, self.scales - 1)]  # channels that come from below
            inner = Scale(widths[depth], channels[depth], back, inner, skip, upsampling, generator)
        self.hourglass = inner
        self.last = OwnConv(channels[0], outputs, 1, bias=True, generator=generator)

    def forward(self, z: Float[Tensor, "b c h w"]) -> Float[Tensor, "n outputs h w"]:
        """Images; a noise with b = 1 serves all networks."""
        n = len(self.last.weight)
        if z.shape[1] != self.inputs or len(z) not in (1, n):
            raise ValueError(
                f"SkipNetwork: expected noise of shape ({n}, {self.inputs}, H, W), one for each of "
                f"{n} networks or one for all, got {tuple(z.shape)}."
            )
        if min(z.shape[-2:]) <= 2**self.scales:
            raise ValueError(
                f"SkipNetwork: {self.scales} scales need sides of more than {2**self.scales} "
                f"pixels, got {z.shape[-2]} x {z.shape[-1]}. Take fewer scales."
            )
        return self.last(self.hourglass(z)).sigmoid()


class Scale(nn.Module):
    """One level of the hour-glass, around the levels below it."""

    def __init__(
        self,
        inputs: int,
        channels: int,
        back: int,
        inner: nn.Module,
        skip: int,
        upsampling: str,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.down = nn.Sequential(
            OwnConv(inputs, channels, 3, 2, generator=generator),
            OwnNorm(channels),
            OwnConv(channels, channels, 3, generator=generator),
            OwnNorm(channels),
        )
        self.inner = inner
        self.skip = (
            nn.Sequential(OwnConv(inputs, skip, 1, generator=generator), OwnNorm(skip))
            if skip
            else None
        )
        self.join = OwnNorm(skip + back, activation=False)
        self.up = nn.Sequential(
            OwnConv(skip + back, channels, 3, generator=generator),
            OwnNorm(channels),
            OwnConv(channels, channels, 1, generator=generator),
            OwnNorm(channels),
        )
        self.upsampling = upsampling

    def forward(self, x: Tensor) -> Tensor:
        """Maps of the size of x."""
        below = self.inner(self.down(x))
        below = interpolate(below, x.shape[-2:], mode=self.upsampling)
        if self.skip is not None:
            below = torch.cat([self.skip(x), below], dim=1)
        return self.up(self.join(below))


class OwnConv(nn.Module):
    """A convolution with its own weights for each image, which keeps the size but for the stride.

    Fed with one image for all, it is an ordinary convolution with n times as many outputs.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        stride: int = 1,
        *,
        bias: bool = False,
        generator: Generator,
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs * size**2)
        shape = (1, outputs, inputs, size, size)
        self.weight = nn.Parameter(bound * (2 * torch.rand(shape, generator=generator) - 1))
        self.bias = nn.Parameter(torch.zeros(1, outputs)) if bias else None
        self.stride = stride

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        """Each image convolved with its own weights."""
        n, size = len(self.weight), self.weight.shape[-1]
        stacked = x.reshape(1, -1, *x.shape[-2:])
        if size > 1:
            stacked = pad(stacked, (size // 2,) * 4, mode="reflect")
        bias = None if self.bias is None else self.bias.flatten()
        y = conv2d(stacked, self.weight.flatten(0, 1), bias, self.stride, groups=len(x))
        return y.reshape(n, -1, *y.shape[-2:])


class OwnNorm(nn.Module):
    """Batch normalisation of a batch of one, whose statistics are over the pixels, then leaky_relu.

    Each image and channel has its own mean, variance, weight and bias.
    """

    def __init__(self, channels: int, *, activation: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels))
        self.bias = nn.Parameter(torch.zeros(1, channels))
        self.activation = activation

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Each image normalised by its own statistics."""
        stacked = x.reshape(1, -1, *x.shape[-2:])
        weight, bias = self.weight.flatten(), self.bias.flatten()
        y = batch_norm(stacked, None, None, weight, bias, training=True).view(x.shape)
        return leaky_relu_(y, 0.2) if self.activation else y


def repeated(network: nn.Module, n: int) -> nn.Module:
    """n copies of a network that run as one: parameters (1, ...) become (n, ...).

    All start from the same weights, so that what becomes of one does not depend on n. The network
    that was given stays as it is.

    Raises:
        ValueError: parameters without the leading axis.
    """
    network = copy.deepcopy(network)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 0 or len(parameter) not in (1, n):
            raise ValueError(
                f"repeated: expected parameters with a leading axis of 1 or {n}, one set of "
                f"weights for each image, but {name} has shape {tuple(parameter.shape)}."
            )
        if len(parameter) != n:
            parameter.data = parameter.data.repeat(n, *[1] * (parameter.ndim - 1))
    return network
