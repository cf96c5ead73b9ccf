"""How much of a measurement the first groups of latents decide, and how far samples miss it."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from course_lib.models.hvae import HVAE
from course_lib.operators import Operator
from course_lib.rng import check_generator, normal_like


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

    It is 0 if the first k groups determine the measurement. For an optimal encoder the expected
    consistency of its samples equals U_k: (x, y) and (x', y) then have the same distribution, and
    y = A x.

    Args:
        hvae: prior.
        op: operator.
        latents_below_k: draws of z_<k, each (B, d, s, s).
        generator: source of all other draws, grain included.
        n: number of pairs; by default that of the latents, which k = 0 does not have.

    Source: Prost et al. 2024, arXiv:2205.10347.
    """
    first, second = (draw_images(hvae, latents_below_k, generator=generator, n=n) for _ in range(2))
    return _mean_rms(op.A(first) - op.A(second))


@torch.no_grad()
def expected_consistency(
    op: Operator, samples: Float[Tensor, "n b c h w"], y: Tensor
) -> Float[Tensor, ""]:
    """C_E(k) = E |A x - y| / sqrt(m) over draws x of p(x | z_<k) q(z_<k | y) and over y.

    Args:
        op: operator.
        samples: draws for each y, before any projection.
        y: measurements (B, *measurement_size), of m numbers each.
    """
    return _mean_rms(op.A(samples) - y)


@torch.no_grad()
def draw_images(
    hvae: HVAE,
    latents_below_k: Sequence[Tensor],
    *,
    generator: Generator,
    n: int | None = None,
) -> Float[Tensor, "b c h w"]:
    """n draws of p(x | z_<k), with the grain that p(x | z) puts on the decoded mean."""
    check_generator("draw_images", generator)
    n = len(latents_below_k[0]) if n is None else n
    p = hvae.decoder.emit(hvae.decoder.descend(hvae.prior_draw(1.0, latents_below_k, generator), n))
    return p.mean + p.stddev * normal_like(p.mean, generator)


def _mean_rms(residual: Tensor) -> Float[Tensor, ""]:
    """Mean over all images of the root mean square of a residual (*batch, C, h, w)."""
    flat = residual.flatten(-3)
    return flat.norm(dim=-1).mean() / math.sqrt(flat.shape[-1])
