"""What the first groups leave open of a measurement, in the linear-Gaussian world."""

import pytest
import torch

from course_lib.inference import (
    draw_images,
    expected_consistency,
    latent_ambiguity,
)
from course_lib.inference.super_resolution import draw_latents
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


@pytest.mark.parametrize("contrast", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("k", [1, 2])
def test_the_equality_needs_measurements_of_the_model(linear, k, contrast):
    """E |A x' - y|^2 for y of covariance c^2 S, in closed form; equal to 2 tr U for c = 1 alone.

    With S = Cov(y) under the model, U = A Cov(x | z_<k) A^T and K = S - U, a draw has
    E[A x' | y] = K S^-1 y and Cov(A x' | y) = S - K S^-1 K. So the mean square is
    c^2 tr (U S^-1 U) + tr (S - K S^-1 K), which for c = 1 is 2 tr U.
    """
    x = linear.images(MANY, generator_from(1))
    y = contrast * linear.op.A(x)
    told = draw_latents(linear.hvae, linear.encoder(k), y, generator=generator_from(2))
    residual = linear.op.A(draw_images(linear.hvae, told, generator=generator_from(3))) - y
    found = residual.flatten(1).square().sum(1).mean()
    matrix = linear.matrix
    unknown = linear.noise  # covariance of x given z_<k
    if k == 1:
        aliases = linear.hvae.decoder.dec_blocks[1].synthesis
        unknown = unknown + (1 - 0.5**2) * aliases @ aliases.T
    of_image = linear.synthesis @ linear.prior @ linear.synthesis.T + linear.noise
    s, u = matrix @ of_image @ matrix.T, matrix @ unknown @ matrix.T
    inverse = torch.linalg.inv(s)
    spread = s - (s - u) @ inverse @ (s - u)
    expected = contrast**2 * (u @ inverse @ u).trace() + spread.trace()
    # 16 squares have a relative deviation of at most sqrt(2): 4 standard errors of 20,000 images.
    assert found / expected == pytest.approx(1, abs=0.04)
    ratio = expected / (2 * u.trace())
    if contrast == 1:
        assert ratio == pytest.approx(1, abs=1e-10)
    else:
        assert ratio > 1.5 if contrast > 1 else ratio < 0.9


def test_ambiguity_falls_with_the_number_of_groups(linear, generator):
    x = linear.images(2000, generator)
    z = linear.hvae.encode(x, generator=generator).latents
    found = [
        latent_ambiguity(linear.hvae, linear.op, z[:k], generator=generator, n=2000)
        for k in (0, 1, 2)
    ]
    assert found[0] > found[1] > found[2]


def test_both_are_means_of_root_mean_squares(linear):
    """A residual of c in every number has the root mean square c, whatever their number."""
    y = torch.rand(3, *linear.op.measurement_size, generator=generator_from(0)).double()
    samples = linear.op.A_dagger(y + torch.tensor([0.1, 0.2, 0.6]).view(3, 1, 1, 1))
    found = expected_consistency(linear.op, samples[None], y)
    assert found.item() == pytest.approx(0.3, rel=1e-6)
