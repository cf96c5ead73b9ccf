r"""A decoder with correlated errors: p(x | z) is a Gaussian with a sparse precision factor.

A VAE says N(G(z), s^2 I): one number for all that it cannot draw. What it leaves out of a real
image is anything but white; it follows contours and is absent from flat areas. A second network
reads that off the first one's features and predicts the sparse factor L of a precision,

    p(x | z) = N(G(z), Sigma),   Sigma^-1 = L L^T,

which costs as much to draw from as to evaluate: a pass over the pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate, pad, silu

from course_lib.kernels.banded_cholesky import BandedCholesky, causal_offsets
from course_lib.models.blocks import at_least_float32, conv, scaled
from course_lib.models.vae import VAE
from course_lib.models.vae_networks import conv_vae

ROW_BOUND = 0.995  # of sum |w_k|: below 1 the recursion that draws a sample forgets
FINEST = math.log(255 * math.sqrt(12))  # -log of the standard deviation of rounding to 8 bits
LOG_DIAGONAL = (-2.0, FINEST)


@dataclass(frozen=True, eq=False)
class StructuredNormal:
    r"""N(mean, (L L^T)^-1) on images of one channel.

    w = L^T (x - mean) is white, and w_j involves pixel j and later ones in raster order only. So
    the density is a chain of conditionals, pixel by pixel from the last to the first:

        x_j | later pixels ~ N(mean_j - sum_i L_ij / L_jj (x_i - mean_i), 1 / L_jj^2).

    Args:
        mean: (B, 1, H, W).
        precision_cholesky: L.
    """

    mean: Float[Tensor, "b 1 h w"]
    precision_cholesky: BandedCholesky

    def log_prob(self, x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """log p(x_j | later pixels) for each pixel j, nats; their sum is log p(x)."""
        white = self.precision_cholesky.matvec_t(x - self.mean)
        log_diagonal = self.precision_cholesky.diagonal.log()
        return log_diagonal - 0.5 * white.square() - 0.5 * math.log(2 * math.pi)

    def sample(self, generator: Generator) -> Float[Tensor, "b 1 h w"]:
        """mean + L^-T e with e ~ N(0, I), one draw an image."""
        return self.mean + self.precision_cholesky.sample(generator)


class PrecisionHead(nn.Module):
    r"""From the features of a decoder to L: each pixel as predicted by its later neighbours.

    The network gives a log standard deviation -log d_j and weights w_k(j) of the residuals at the
    m later neighbours of pixel j, so that L_jj = d_j and L_ij = -w_k(j) d_j: the residual is an
    autoregression u_j = sum_k w_k(j) u(j + k) + e_j / d_j. Free weights describe residuals well
    and draw them badly: where the recursion is unstable, a sample grows without bound while its
    density stays fine. Hence sum_k |w_k(j)| <= 0.995, which makes every sample bounded by
    200 max |e_j / d_j|. No pixel is thought to be known better than its rounding to 8 bits.

    Args:
        fine: channels of the features at the resolution of the image.
        coarse: channels of the features at half of it.
        radius: radius of the neighbourhood; 0 makes Sigma diagonal.
        width: channels of the hidden layers.
        bounded: whether the weights obey the bound.
    """

    def __init__(
        self, fine: int, coarse: int, *, radius: int = 2, width: int = 24, bounded: bool = True
    ) -> None:
        super().__init__()
        self.radius, self.bounded = radius, bounded
        self.offsets = causal_offsets(radius)
        self.from_fine = conv(fine + 1, width)
        self.from_coarse = nn.Sequential(conv(coarse, 2 * width), nn.SiLU(), conv(2 * width, width))
        self.hidden = conv(width, width)
        self.last = scaled(conv(width, 1 + len(self.offsets), 1), 0.0, 0.0)

    def forward(self, mean: Tensor, fine: Tensor, coarse: Tensor) -> BandedCholesky:
        """L."""
        features = self.from_fine(torch.cat([fine, 2 * mean.to(fine) - 1], dim=1))
        features = features + interpolate(self.from_coarse(coarse), scale_factor=2)
        # L refuses a NaN; the mean carries it on to whoever looks, one image apart from others.
        output = at_least_float32(self.last(silu(self.hidden(silu(features))))).nan_to_num()
        diagonal = output[:, :1].clamp(*LOG_DIAGONAL).exp()
        weights = output[:, 1:]
        if self.bounded:
            weights = ROW_BOUND * weights / weights.abs().sum(1, keepdim=True).clamp(min=1)
        columns = (-weights * diagonal).unbind(1)  # column j of L, at pixel j
        rows = [  # row i of L, at pixel i: its entry in the column of pixel i + offset
            pad(column, (-right, right, -down, down))
            for column, (down, right) in zip(columns, self.offsets, strict=True)
        ]
        offdiagonal = torch.stack(rows, dim=1) if rows else weights
        return BandedCholesky(diagonal, offdiagonal, self.radius)


class StructuredVAE(VAE):
    """A VAE whose decoder returns a `StructuredNormal`.

    Encoder, decoder and prior are those of the VAE it is made from, and stay as they are: only
    the head learns, from the residuals x - G(z), z ~ q(z | x) [Dorta et al. 2018].

    Args:
        vae: a convolutional VAE of grey images, as `conv_vae` builds it.
        head: network of L.

    Source: Dorta, Vicente, Agapito, Campbell & Simpson 2018, arXiv:1802.07079 and
    arXiv:1804.01050.
    """

    decoder: nn.Sequential

    def __init__(self, vae: VAE, head: PrecisionHead) -> None:
        super().__init__(
            vae.encoder,
            vae.decoder,
            latent_shape=vae.latent_shape,
            img_size=vae.img_size,
            noise_std=float(vae.noise_std),
        )
        self.head = head

    def decode(self, z: Float[Tensor, "b c h w"]) -> StructuredNormal:
        """p(x | z): its mean is that of the VAE."""
        coarse = self.decoder[:-5](z)  # then Upsample, conv, SiLU; conv, Uncentre
        fine = self.decoder[-5:-2](coarse)
        mean = self.decoder[-2:](fine)
        return StructuredNormal(mean, self.head(mean, fine, coarse))


def structured_vae(
    *,
    radius: int = 2,
    width: int = 24,
    bounded: bool = True,
    channels: Sequence[int] = (32, 64, 96),
    latent_channels: int = 16,
    tail: int = 16,
    img_size: tuple[int, int, int] = (1, 64, 64),
) -> StructuredVAE:
    """A `conv_vae` with a head: L has (2 radius + 1)^2 // 2 entries a row beside the diagonal."""
    vae = conv_vae(channels=channels, latent_channels=latent_channels, tail=tail, img_size=img_size)
    return StructuredVAE(
        vae, PrecisionHead(tail, channels[0], radius=radius, width=width, bounded=bounded)
    )
