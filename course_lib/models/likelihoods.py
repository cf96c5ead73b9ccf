"""Distributions of an image given the last features of a decoder."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.distributions import Distribution, Normal
from torch.nn.functional import logsigmoid, silu, softplus

from course_lib.models.blocks import Uncentre, at_least_float32, conv, scaled
from course_lib.models.vae import gaussian

SMALLEST_STD = 0.5 / 255  # half a grey level of an image of 8 bits
SMALLEST_LOG_SCALE = -7.0  # of a logistic distribution, on [-1, 1]


class GaussianHead(nn.Module):
    """p(x | z) = N(mean, diag std^2), with a scale for each pixel; densities, in nats.

    The scale is read from the features but does not shape them: it describes the residual of the
    mean, and no latent is spent on where the residual will be small.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(nn.SiLU(), conv(inputs, channels), Uncentre())
        self.scale = nn.Sequential(
            conv(inputs, 16),
            nn.SiLU(),
            conv(16, 16),
            nn.SiLU(),
            scaled(conv(16, channels), 1.0, -2.0),
        )

    def forward(self, features: Tensor) -> Normal:
        """p(x | z)."""
        std = softplus(at_least_float32(self.scale(silu(features.detach()))))
        return gaussian(self.mean(features), SMALLEST_STD + std)


class LogisticsHead(nn.Module):
    """p(x | z) is a mixture of discretised logistics in each pixel; probabilities of levels."""

    def __init__(self, inputs: int, channels: int, *, n_mixtures: int = 10, bits: int = 8) -> None:
        super().__init__()
        self.channels, self.bits = channels, bits
        self.out_conv = conv(inputs, n_mixtures * (1 + 3 * channels), 1)

    def forward(self, features: Tensor) -> "DiscretisedLogistics":
        """p(x | z)."""
        return DiscretisedLogistics(self.out_conv(features), self.channels, bits=self.bits)


class DiscretisedLogistics(Distribution):
    r"""A distribution on levels k / (2^bits - 1): logistics, integrated over the bin of each level.

    In a pixel, component m has the weight pi_m and for channel c a mean and a scale. The mean of
    a channel moves with the channels before it, by coefficients in (-1, 1). The bins lie half a
    level to each side; the first and the last one reach to infinity, so that the probabilities
    sum to one for any mean and scale.

    Args:
        out: (B, M (1 + 3 C), H, W): M weights (logits), then for each channel M means on [-1, 1],
            M log scales, M coefficients (before their tanh).
        channels: C, 1 or 3.
        bits: bits of a level. An image is expected on the grid of levels, in [0, 1].

    Source: Salimans et al. 2017, arXiv:1701.05517. Child's released code pairs levels and bins of
    different spacing for images of 5 bits, whose probabilities then sum to 1.03 (erratum R1).
    """

    arg_constraints: ClassVar = {}  # pyright: ignore[reportAssignmentType]  # a property in torch

    def __init__(self, out: Tensor, channels: int, *, bits: int = 8) -> None:
        n = out.shape[1] // (1 + 3 * channels)
        out = at_least_float32(out)
        self.log_weights = out[:, :n].log_softmax(1)  # (B, M, H, W)
        parts = out[:, n:].unflatten(1, (channels, 3, n))
        self.means, log_scales, coefficients = parts.unbind(2)  # (B, C, M, H, W)
        self.log_scales = log_scales.clamp(min=SMALLEST_LOG_SCALE)
        self.coefficients = coefficients.tanh()
        self.half_bin = 1 / (2**bits - 1)
        super().__init__(validate_args=False)

    def log_prob(self, value: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
        """Log-probability of the level of each pixel, over its channels together."""
        x = 2 * value.unsqueeze(2) - 1
        centred = (x - self._shifted(x)) / self.log_scales.exp()
        half = self.half_bin / self.log_scales.exp()
        upper, lower = centred + half, centred - half
        # log(s(a) - s(b)) for the sigmoid s, without the difference of two numbers near 0 or 1.
        inside = logsigmoid(upper) + logsigmoid(-lower) + (-torch.expm1(-2 * half)).log()
        log_p = torch.where(
            x < -1 + self.half_bin,
            logsigmoid(upper),
            torch.where(x > 1 - self.half_bin, logsigmoid(-lower), inside),
        )
        return (log_p.sum(1) + self.log_weights).logsumexp(1, keepdim=True)

    @property
    def mean(self) -> Float[Tensor, "b c h w"]:
        """Mean of the mixture before it is cut to [0, 1] and discretised."""
        means: list[Tensor] = []
        for c in range(self.means.shape[1]):
            means.append(self._shift(c, means))
        mixed = (torch.stack(means, 1) * self.log_weights.exp().unsqueeze(1)).sum(2)
        return 0.5 + 0.5 * mixed

    def sample_with(self, generator: Generator) -> Float[Tensor, "b c h w"]:
        """One draw for each pixel: a component, then its logistics, cut and rounded."""
        u = _uniform(self.log_weights, generator)
        chosen = (self.log_weights - (-u.log()).log()).argmax(1, keepdim=True)
        drawn: list[Tensor] = []
        for c in range(self.means.shape[1]):
            mean = self._shift(c, drawn).gather(1, chosen)
            scale = self.log_scales[:, c].gather(1, chosen).exp()
            u = _uniform(mean, generator)
            drawn.append((mean + scale * (u.log() - (-u).log1p())).clamp(-1, 1))
        level = (torch.cat(drawn, 1) + 1) / (2 * self.half_bin)
        return level.round() * self.half_bin

    def _shifted(self, x: Float[Tensor, "b c 1 h w"]) -> Float[Tensor, "b c m h w"]:
        """The mean of each component, given the channels before."""
        channels = range(self.means.shape[1])
        return torch.stack([self._shift(c, list(x[:, :c].unbind(1))) for c in channels], 1)

    def _shift(self, c: int, before: list[Tensor]) -> Tensor:
        """Means of channel c. Coefficient 0 is of channels (1, 0), 1 and 2 of (2, 0), (2, 1)."""
        first = (0, 0, 1)[c]
        shifts = (self.coefficients[:, first + i] * value for i, value in enumerate(before))
        return self.means[:, c] + sum(shifts, start=torch.zeros_like(self.means[:, c]))


def _uniform(like: Tensor, generator: Generator) -> Tensor:
    u = torch.rand(like.shape, generator=generator, device=generator.device, dtype=like.dtype)
    return u.clamp(1e-7, 1 - 1e-7).to(like.device)


HEADS = {"gaussian": GaussianHead, "logistics": LogisticsHead}
