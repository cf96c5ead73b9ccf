"""Invertible layers of a normalising flow, and the networks of their couplings."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from course_lib.batch import total
from course_lib.models.blocks import at_least_float32, conv, scaled

COUPLING_REACH = 0.5  # largest |log-scale| of a coupling: scales lie in [0.607, 1.648]


class GlowStep(nn.Module):
    """Standardise, rotate the channels, then scale and shift one half of them given the other."""

    def __init__(self, channels: int, features: int, hidden: int) -> None:
        super().__init__()
        self.norm, self.rotation = ActNorm(channels), Rotation(channels)
        self.known = channels // 2
        self.network = network(self.known + features, 2 * (channels - self.known), hidden)

    def forward(self, z: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """The new z, and log |det| (B,)."""
        z, log_det = self.norm(z)
        known, rest = self._split(self.rotation(z))
        shift, log_scale = self._coupling(known, features)
        rest = (rest + shift) * log_scale.exp()
        return torch.cat([known, rest], dim=1), log_det + total(log_scale)

    def inverse(self, z: Tensor, features: Tensor) -> Tensor:
        """The z before."""
        known, rest = self._split(z)
        shift, log_scale = self._coupling(known, features)
        rest = rest * (-log_scale).exp() - shift
        return self.norm.inverse(self.rotation.inverse(torch.cat([known, rest], dim=1)))

    def _split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z[:, : self.known], z[:, self.known :]

    def _coupling(self, known: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        return shift_and_scale(self.network(torch.cat([known, features.to(known.dtype)], dim=1)))


class ActNorm(nn.Module):
    """(z + shift) exp(log_scale) for each channel: at first, what makes mean 0 and variance 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The new z, and log |det| (B,)."""
        log_det = self.log_scale.sum() * z[0, 0].numel()
        return (z + self.shift) * self.log_scale.exp(), log_det.expand(len(z))

    def inverse(self, z: Tensor) -> Tensor:
        """The z before."""
        return z * (-self.log_scale).exp() - self.shift

    def standardise(self, inputs: tuple[Tensor]) -> None:
        """Choose shift and scale for the batch that is coming; a hook before `forward`."""
        std, mean = torch.std_mean(inputs[0], dim=(0, 2, 3))
        self.shift.copy_(-mean[:, None, None])
        self.log_scale.copy_(-std.clamp(min=1e-6).log()[:, None, None])


class Rotation(nn.Module):
    """A 1 x 1 convolution with R = (I + S)^-1 (I - S), S = W - W^T: orthogonal for every W.

    It never becomes ill-conditioned, its inverse is R^T, and log |det R| = 0: scales are the
    business of `ActNorm`. (Glow learns a general matrix, which can become singular.)

    Source: Helfrich, Willmott & Ye 2018, arXiv:1707.09520 (Cayley's map).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, channels))

    @property
    def matrix(self) -> Float[Tensor, "c c"]:
        """R."""
        skew = self.weight - self.weight.T
        identity = torch.eye(len(skew), dtype=skew.dtype, device=skew.device)
        return torch.linalg.solve(identity + skew, identity - skew)

    def forward(self, z: Tensor) -> Tensor:
        """R z, pixel by pixel."""
        return _mix(self.matrix, z)

    def inverse(self, z: Tensor) -> Tensor:
        """R^T z."""
        return _mix(self.matrix.T, z)


def haar(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means of 2 x 2 blocks, three orthonormal differences, and log |det|: -log 2 for each block.

    Returns:
        coarse (B, C, H/2, W/2), in the range of images; details (B, 3 C, H/2, W/2); (B,).
    """
    a, b, c, d = pixel_unshuffle(x, 2).unflatten(1, (-1, 4)).unbind(2)
    coarse = (a + b + c + d) / 4
    details = torch.cat([a - b + c - d, a + b - c - d, a - b - c + d], dim=1) / 2
    return coarse, details, x.new_full((len(x),), -math.log(2) * coarse[0].numel())


def haar_inverse(coarse: Tensor, details: Tensor) -> Tensor:
    """The image (B, C, H, W)."""
    across, down, cross = (part / 2 for part in details.chunk(3, dim=1))
    block = [
        coarse + across + down + cross,
        coarse - across + down - cross,
        coarse + across - down - cross,
        coarse - across - down + cross,
    ]
    return pixel_shuffle(torch.stack(block, dim=2).flatten(1, 2), 2)


def network(
    inputs: int, outputs: int, hidden: int, border: Literal["zeros", "circular"] = "zeros"
) -> nn.Sequential:
    """The network of a coupling; its output is 0 at first: a flow starts as its linear part.

    Args:
        border: "zeros", by which a network knows where the image ends, or "circular", for a coarse
            image that comes from a periodic prefilter.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 3, padding=1, padding_mode=border),
        nn.ReLU(),
        conv(hidden, hidden, 1),
        nn.ReLU(),
        scaled(nn.Conv2d(hidden, outputs, 3, padding=1, padding_mode=border), 0.0, 0.0),
    )


def shift_and_scale(output: Tensor, reach: float = COUPLING_REACH) -> tuple[Tensor, Tensor]:
    """The halves of a network's output: a shift, and a log-scale bounded by `reach`.

    The bound (2 / pi) reach atan(s / reach) is 0.318 atan(2 s) for reach = 1/2.
    """
    shift, free = at_least_float32(output).chunk(2, dim=1)
    return shift, (2 / math.pi * reach) * torch.atan(free / reach)


def _mix(matrix: Tensor, z: Tensor) -> Tensor:
    # Not a convolution: autocast would round the image to 8 bits of mantissa.
    return (matrix[:, :, None, None] * z[:, None]).sum(2)
