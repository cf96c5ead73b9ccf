"""Many images for one measurement: a hierarchical VAE whose coarse latents the measurement tells.

Source: Prost, Houdard, Almansa & Papadakis 2024, arXiv:2205.10347 (super-resolution; nothing in
it asks for more than a fixed operator).
"""

import math
from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.distributions import Normal, kl_divergence

from course_lib.models.hvae import HVAE
from course_lib.models.vae import reparameterise
from course_lib.operators import LinearOperator, Operator, bicubic_downsampling
from course_lib.rng import generator_from, normal_like

Reduction = Literal["sum", "mean"]


@runtime_checkable
class LatentEncoder(Protocol):
    """q(z_<k | y) of the first k groups of an HVAE; `MeasurementEncoder` is one."""

    k: int

    def features(self, y: Tensor) -> dict[int, Tensor]: ...
    def posterior(
        self, index: int, state: Tensor, features: dict[int, Tensor], prior: Normal
    ) -> Normal: ...


def latent_divergence(
    hvae: HVAE,
    encoder: LatentEncoder,
    x: Float[Tensor, "batch c h w"],
    y: Tensor,
    *,
    generator: Generator,
    reduction: Reduction = "sum",
) -> Float[Tensor, "batch k"]:
    """KL(q(z_l | z_<l, x) || q(z_l | z_<l, y)) of the first k groups: what training minimises.

    z is drawn from the image's own posterior, and both laws look at the same maps. Summed over the
    groups, and averaged over images and their measurements, it is the divergence between the
    posteriors of z_<k given x and given y; at best the information I(z_<k; x | y) is left, which
    is not zero. Gradients reach the encoder of measurements only.

    Args:
        hvae: the prior, which stays as it is.
        encoder: of measurements.
        x: images.
        y: their measurements.
        generator: of the draws.
        reduction: "sum" over the latents of a group, in nats, or their "mean", the form of the
            authors' released code, which makes a latent of a fine group cheaper than one of a
            coarse group.

    Source: Prost et al. 2024, arXiv:2205.10347, equation 10.
    """
    with torch.no_grad():
        of_image = hvae.features(x)
    of_measurement = encoder.features(y)
    parts = []

    def draw(index: int, state: Tensor, prior: Normal) -> Tensor:
        group = hvae.decoder.dec_blocks[index]
        q = group.posterior(state, of_image[group.side], prior)
        with torch.enable_grad():
            guess = encoder.posterior(index, state, of_measurement, prior)
            divergence = kl_divergence(q, guess).flatten(1)
            parts.append(divergence.sum(1) if reduction == "sum" else divergence.mean(1))
        return reparameterise(q, generator)

    with torch.no_grad():
        hvae.decoder.descend(draw, len(x), stop=encoder.k)
    return torch.stack(parts, 1)


@torch.no_grad()
def super_resolve(
    hvae: HVAE,
    lr_encoder: LatentEncoder,
    y: Float[Tensor, "batch c h w"],
    n_samples: int,
    temperature: float = 1.0,
    consistent: bool = True,
    *,
    op: LinearOperator | None = None,
    generator: Generator | None = None,
) -> Float[Tensor, "samples batch c H W"]:
    """Draw images that explain y: the first k groups from q(z_<k | y), the others from the prior.

    Args:
        hvae: the prior.
        lr_encoder: trained for this prior and this operator.
        y: measurements, one for each image.
        n_samples: draws for each measurement.
        temperature: factor on the standard deviations of the prior in the groups from k on. The
            groups below k are drawn as they are, so that samples differ even at temperature 0.
        consistent: project each sample onto the images that y is the measurement of. Only for
            measurements without noise: noise would be copied into the samples.
        op: the operator; by default `bicubic_downsampling` from the image's size to that of y.
        generator: of the draws; seed 0 if there is none.

    Raises:
        ValueError: a measurement of another size, fewer than one sample, or a negative temperature.
    """
    if n_samples < 1:
        raise ValueError(f"super_resolve: expected n_samples >= 1, got {n_samples}.")
    generator = generator or generator_from(0)
    count = n_samples * len(y)
    features = {
        side: maps.repeat(n_samples, 1, 1, 1) for side, maps in lr_encoder.features(y).items()
    }
    draw_prior = hvae.prior_draw(temperature, [], generator)

    def draw(index: int, state: Tensor, prior: Normal) -> Tensor:
        if index >= lr_encoder.k:
            return draw_prior(index, state, prior)
        return reparameterise(lr_encoder.posterior(index, state, features, prior), generator)

    x = hvae.decoder.emit(hvae.decoder.descend(draw, count)).mean.unflatten(0, (n_samples, len(y)))
    if not consistent:
        return x
    if op is None:
        op = bicubic_downsampling(hvae.img_size, hvae.img_size[-1] // y.shape[-1])
    return consistency_projection(op, x, y)


def consistency_projection(op: LinearOperator, x: Tensor, y: Tensor) -> Tensor:
    """The nearest image to x that is measured as y: x - A^+ (A x - y).

    The step is orthogonal to all differences between images of one measurement. So if y = A u, then
    |x' - u|^2 = |x - u|^2 - |x' - x|^2: the projection never moves away from u, and it moves
    nearer by exactly what it changes (Pythagoras). If A has full row rank, A x' = y.

    Args:
        op: with a pseudo-inverse (closed form for `Downsampling`, exact for any prefilter).
        x: images (*batch, C, H, W).
        y: measurements, for all axes of x or for the last ones of `batch`.

    Source: Bahat & Michaeli 2020, arXiv:1912.01839 ("consistency enforcing module").
    """
    return x - op.A_dagger(op.A(x) - y)


@torch.no_grad()
def expected_consistency(
    op: Operator, samples: Float[Tensor, "samples batch c h w"], y: Tensor
) -> Float[Tensor, ""]:
    """C_E(k) = E |A x - y| / sqrt(m) over draws x of p(x | z_<k) q(z_<k | y) and over y.

    Args:
        op: the operator.
        samples: draws for each y, before any projection.
        y: measurements (B, *measurement_size), of m numbers each.
    """
    return _rms(op.A(samples) - y)


@torch.no_grad()
def latent_ambiguity(
    hvae: HVAE,
    op: Operator,
    latents_below_k: Sequence[Tensor],
    *,
    generator: Generator,
    n: int | None = None,
) -> Float[Tensor, ""]:
    """U_k = E |A x - A x'| / sqrt(m) for two independent draws x, x' given the same z_<k.

    What the measurement of an image may still be when the first k groups are known: 0 if they
    determine it. For an encoder that is optimal, the expected consistency of its samples equals
    U_k: (x, y) and (x', y) then have one law, and y = A x.

    Args:
        hvae: the prior.
        op: the operator.
        latents_below_k: draws of z_<k, each (B, d, s, s).
        generator: of the draws of all else, grain included.
        n: number of pairs; by default that of the latents, which k = 0 does not have.

    Source: Prost et al. 2024, arXiv:2205.10347.
    """
    first, second = (draw_images(hvae, latents_below_k, generator=generator, n=n) for _ in range(2))
    return _rms(op.A(first) - op.A(second))


@torch.no_grad()
def draw_images(
    hvae: HVAE,
    latents_below_k: Sequence[Tensor],
    *,
    generator: Generator,
    n: int | None = None,
) -> Float[Tensor, "batch c h w"]:
    """n draws of p(x | z_<k), with the grain that p(x | z) puts on the decoded mean."""
    n = len(latents_below_k[0]) if n is None else n
    p = hvae.decoder.emit(hvae.decoder.descend(hvae.prior_draw(1.0, latents_below_k, generator), n))
    return p.mean + p.stddev * normal_like(p.mean, generator)


def _rms(residual: Tensor) -> Float[Tensor, ""]:
    """Mean over all images of the norm of a residual (*batch, C, h, w), by sqrt of its size."""
    flat = residual.flatten(-3)
    return flat.norm(dim=-1).mean() / math.sqrt(flat.shape[-1])
