"""Diverse super-resolution by a hierarchical VAE and an encoder of measurements."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.distributions import Normal

from course_lib.inference.super_resolution.consistency import consistency_projection
from course_lib.models.hvae import HVAE
from course_lib.models.vae import reparameterise
from course_lib.operators import LinearOperator, bicubic_downsampling
from course_lib.rng import check_generator


@runtime_checkable
class LatentEncoder(Protocol):
    """q(z_<k | y) of the first k groups of an HVAE; `MeasurementEncoder` is one."""

    @property
    def k(self) -> int:
        """Number of groups."""
        ...

    def features(self, y: Tensor) -> dict[int, Tensor]:
        """Feature maps of the measurements, by the side of the groups that use them."""
        ...

    def posterior(
        self, index: int, state: Tensor, features: dict[int, Tensor], prior: Normal
    ) -> Normal:
        """q(z_l | z_<l, y) of group l = index, at the state of the decoder."""
        ...


@torch.no_grad()
def super_resolve(
    hvae: HVAE,
    lr_encoder: LatentEncoder,
    y: Float[Tensor, "b c h w"],
    n_samples: int,
    temperature: float = 1.0,
    consistent: bool = True,
    *,
    op: LinearOperator | None = None,
    generator: Generator,
) -> Float[Tensor, "n b c H W"]:
    """Posterior samples: z_<k ~ q(z_<k | y), the other groups from the prior, x = E[x | z].

    Args:
        hvae: prior.
        lr_encoder: encoder of measurements, trained for this prior and this operator.
        y: measurements, one for each image.
        n_samples: number of samples for each measurement.
        temperature: factor on the standard deviations of the prior in the groups from k on. The
            groups below k are drawn as they are, so that samples differ even at temperature 0.
        consistent: project each sample onto {x : A x = y}. Only for measurements without noise:
            noise would be copied into the samples.
        op: operator; by default `bicubic_downsampling` from the image's size to that of y.
        generator: source of all draws.

    Raises:
        ValueError: a measurement of another size, fewer than one sample, or a negative temperature.
        TypeError: no generator.

    Source: Prost, Houdard, Almansa & Papadakis 2024, arXiv:2205.10347 (super-resolution; nothing
    in it asks for more than a fixed operator).
    """
    check_generator("super_resolve", generator)
    if n_samples < 1:
        raise ValueError(f"super_resolve: expected n_samples >= 1, got {n_samples}.")
    features = {  # row n b holds sample n of measurement b
        side: maps.repeat(n_samples, 1, 1, 1) for side, maps in lr_encoder.features(y).items()
    }
    draw_prior = hvae.prior_draw(temperature, [], generator)

    def draw(index: int, state: Tensor, prior: Normal) -> Tensor:
        if index < lr_encoder.k:
            q = lr_encoder.posterior(index, state, features, prior)
            return reparameterise(q, generator)
        return draw_prior(index, state, prior)

    z = hvae.decoder.descend(draw, n_samples * len(y))
    x = hvae.decoder.emit(z).mean.unflatten(0, (n_samples, len(y)))
    if not consistent:
        return x
    op = op or bicubic_downsampling(hvae.img_size, hvae.img_size[-1] // y.shape[-1])
    return consistency_projection(op, x, y)
