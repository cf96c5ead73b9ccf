"""Laws of an image given the last features of a decoder."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import silu, softplus

from course_lib.models.blocks import Uncentre, at_least_float32, conv
from course_lib.models.vae import gaussian

SMALLEST_STD = 0.5 / 255  # half a grey level of an image of 8 bits


class GaussianHead(nn.Module):
    """p(x | z) = N(mean, diag std^2), with a scale for each pixel.

    The scale is read from the features but does not shape them: it describes the residual of the
    mean, and no latent is spent on where the residual will be small.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(nn.SiLU(), conv(inputs, channels), Uncentre())
        self.scale = nn.Sequential(
            conv(inputs, 16), nn.SiLU(), conv(16, 16), nn.SiLU(), conv(16, channels)
        )
        self.scale[-1].bias.data.fill_(-2.0)

    def forward(self, features: Tensor) -> Normal:
        std = softplus(at_least_float32(self.scale(silu(features.detach()))))
        return gaussian(self.mean(features), SMALLEST_STD + std)


HEADS = {"gaussian": GaussianHead}
