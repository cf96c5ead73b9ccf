"""What the first groups leave open of a measurement, in the linear-Gaussian world."""

import pytest
import torch

from course_lib.inference import (
    draw_images,
    expected_consistency,
    latent_ambiguity,
)
from course_lib.rng import generator_from

MANY = 20_000


@pytest.mark.parametrize("k", [1, 2])
def test_consistency_of_the_optimal_encoder_is_the_ambiguity_of_the_latents(linear, k):
    """C_E(k) = U_k, and both are below the root mean square sqrt(2 tr(H C H^T) / m) (Jensen)."""
    x = linear.images(MANY, generator_from(1))
    y = linear.op.A(x)
    encoder, hvae = linear.encoder(k), linear.hvae
    latents = []

    def draw(index, state, prior):
        q = encoder.posterior(index, state, encoder.features(y), prior)
        latents.append(q.sample())
        return latents[-1]

    torch.manual_seed(0)
    hvae.decoder.descend(draw, MANY, stop=k)
    samples = draw_images(hvae, latents, generator=generator_from(2))
    found = expected_consistency(linear.op, samples[None], y)
    told = hvae.encode(x, generator=generator_from(3)).latents[:k]
    ambiguity = latent_ambiguity(hvae, linear.op, told, generator=generator_from(4))
    # Norms of 16 numbers have a spread of a third of their mean: 4 standard errors of 20,000 pairs.
    assert abs(found / ambiguity - 1) < 0.01
    unknown = linear.noise  # covariance of x given z_<k
    if k == 1:
        aliases = hvae.decoder.dec_blocks[1].synthesis
        unknown = unknown + (1 - 0.5**2) * aliases @ aliases.T
    trace = (linear.matrix @ unknown @ linear.matrix.T).trace()
    assert found < (2 * trace / 16).sqrt()


def test_ambiguity_falls_with_the_number_of_groups(linear, generator):
    x = linear.images(2000, generator)
    z = linear.hvae.encode(x, generator=generator).latents
    found = [
        latent_ambiguity(linear.hvae, linear.op, z[:k], generator=generator, n=2000)
        for k in (0, 1, 2)
    ]
    assert found[0] > found[1] > found[2]
