"""Encoders of measurements against Gaussian algebra; the projection against Pythagoras."""

import math

import pytest
import torch

from course_lib.exact.linear_hierarchy import LinearMeasurementEncoder, aliased_hierarchy
from course_lib.experiments.diverse_super_resolution import aliasing_sensor, dense
from course_lib.inference import (
    consistency_projection,
    draw_images,
    expected_consistency,
    latent_ambiguity,
    latent_divergence,
    super_resolve,
)
from course_lib.metrics import lr_psnr, psnr
from course_lib.models.measurement_encoder import measurement_encoder
from course_lib.models.stacked_vae import stacked_vae
from course_lib.operators import (
    Downsampling,
    Inpainting,
    bicubic_downsampling,
    gaussian_kernel,
)
from course_lib.rng import generator_from

MANY = 20_000


class Linear:
    """The linear world with its measurement: everything in closed form."""

    def __init__(self):
        self.hvae = aliased_hierarchy()
        self.op = aliasing_sensor()
        self.matrix = dense(self.op)
        groups = self.hvae.decoder.dec_blocks
        self.synthesis = torch.cat([g.synthesis for g in groups], 1)
        eye, c = torch.eye(4, dtype=torch.float64), 0.5
        self.prior = torch.cat([torch.cat([eye, c * eye], 1), torch.cat([c * eye, eye], 1)])
        self.noise = 0.01 * torch.eye(64, dtype=torch.float64)

    def encoder(self, k):
        return LinearMeasurementEncoder(self.hvae, self.matrix, k)

    def images(self, n, generator):
        return draw_images(self.hvae, [], generator=generator, n=n)

    def covariance_given(self, latents, seen):
        """Of the first `latents` latents given seen @ x."""
        view = seen @ self.synthesis
        of_seen = view @ self.prior @ view.T + seen @ self.noise @ seen.T
        shared = (self.prior @ view.T)[:latents]
        return self.prior[:latents, :latents] - shared @ torch.linalg.inv(of_seen) @ shared.T


@pytest.fixture(scope="module")
def linear():
    return Linear()


@pytest.mark.parametrize("k", [1, 2])
def test_at_best_the_divergence_is_the_information_that_y_lacks(linear, k, generator):
    """min E KL = I(z_<k; x | y) = (log det C(z | y) - log det C(z | x)) / 2, which is not zero."""
    x = linear.images(MANY, generator)
    nats = latent_divergence(
        linear.hvae, linear.encoder(k), x, linear.op.A(x), generator=generator
    ).sum(1)
    given_y = linear.covariance_given(4 * k, linear.matrix)
    given_x = linear.covariance_given(4 * k, torch.eye(64, dtype=torch.float64))
    information = (given_y.logdet() - given_x.logdet()) / 2
    assert (nats.mean() - information).abs() < 4 * nats.std() / MANY**0.5
    assert information > 0.5


def test_an_encoder_that_is_too_unsure_pays_for_it(linear, generator):
    """For standard deviations too large by r the price is log r + (1 / r^2 - 1) / 2 a latent."""
    x = linear.images(MANY, generator)
    prices = []
    for r in (1.0, 1.5):
        encoder = linear.encoder(1)
        encoder.laws = [(gain, r * std) for gain, std in encoder.laws]
        found = latent_divergence(
            linear.hvae, encoder, x, linear.op.A(x), generator=generator_from(1)
        )
        prices.append(found.sum(1))
    extra = prices[1] - prices[0]
    expected = 4 * (math.log(1.5) + (1 / 1.5**2 - 1) / 2)
    assert (extra.mean() - expected).abs() < 4 * extra.std() / MANY**0.5


def test_the_mean_form_weighs_groups_by_their_size(linear, generator):
    x = linear.images(10, generator)
    args = linear.hvae, linear.encoder(2), x, linear.op.A(x)
    total = latent_divergence(*args, generator=generator_from(1))
    mean = latent_divergence(*args, generator=generator_from(1), reduction="mean")
    assert torch.allclose(total / 4, mean, rtol=1e-12)


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


def test_an_encoder_that_is_too_unsure_is_less_consistent(linear, generator):
    x = linear.images(2000, generator)
    y = linear.op.A(x)
    found = []
    for r in (1.0, 1.5):
        encoder = linear.encoder(2)
        encoder.laws = [(gain, r * std) for gain, std in encoder.laws]
        samples = super_resolve(linear.hvae, encoder, y, 1, consistent=False)
        found.append(expected_consistency(linear.op, samples, y))
    assert found[1] > 1.2 * found[0]


def test_ambiguity_falls_with_the_number_of_groups(linear, generator):
    x = linear.images(2000, generator)
    z = linear.hvae.encode(x, generator=generator).latents
    found = [
        latent_ambiguity(linear.hvae, linear.op, z[:k], generator=generator, n=2000)
        for k in (0, 1, 2)
    ]
    assert found[0] > found[1] > found[2]


OPERATORS = [
    Downsampling((1, 12, 16), 4, gaussian_kernel(std=1.0).double()),
    Downsampling((2, 12, 8), 2, torch.rand(1, 1, 3, 5, generator=generator_from(5)).double()),
    Downsampling((1, 6, 6), 3),
    Inpainting((torch.rand(1, 7, 5, generator=generator_from(6)) > 0.4).double()),
]


@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: f"{type(op).__name__}{op.img_size}")
def test_projection_is_orthogonal_idempotent_and_never_moves_away(op, generator):
    """Pythagoras: what it changes is what it gains, for every image of that measurement."""
    truth, x = torch.rand(2, 3, *op.img_size, generator=generator).double()
    y = op.A(truth)
    projected = consistency_projection(op, x, y)
    assert torch.allclose(op.A(projected), y, atol=1e-12, rtol=0)
    assert torch.allclose(consistency_projection(op, projected, y), projected, atol=1e-12, rtol=0)
    before, moved, after = (
        d.square().flatten(1).sum(1) for d in (x - truth, projected - x, projected - truth)
    )
    assert torch.allclose(after, before - moved, rtol=1e-12)
    assert (psnr(projected, truth) >= psnr(x, truth)).all()


@pytest.mark.parametrize("factor", [4, 8, 16])
def test_projected_float_images_are_consistent_to_more_than_60_db(factor, generator):
    """At the size of the book, in float32: the prefilter is far from singular on the small grid."""
    op = bicubic_downsampling((1, 64, 64), factor)
    truth, x = torch.rand(2, 2, 1, 64, 64, generator=generator)
    y = op.A(truth)
    assert lr_psnr(consistency_projection(op, x, y), y, op.A).min() > 100


@pytest.fixture
def small():
    """An untrained prior of images 1 x 16 x 16 and an encoder of measurements at 1/4."""
    torch.manual_seed(0)
    latents = {"1": 2, "2": 3, "4": 1}
    hvae = stacked_vae(
        dec_blocks="1x2,2m1,4m2",
        latents=latents,
        channels=(8, 8, 8),
        width=16,
        blocks=1,
        tail=4,
        img_size=(1, 16, 16),
    ).requires_grad_(False)
    encoder = measurement_encoder(
        measurement_size=(1, 4, 4),
        sides=[1, 1, 2],
        latents=latents,
        channels=[8, 8],
        halves=[False, True],
        width=16,
        blocks=1,
    )
    return hvae.eval(), encoder


def test_draws_many_consistent_images_for_each_measurement(small, generator):
    hvae, encoder = small
    y = torch.rand(2, 1, 4, 4, generator=generator)
    x = super_resolve(hvae, encoder, y, 3, 0.8, generator=generator)
    assert x.shape == (3, 2, 1, 16, 16)
    op = bicubic_downsampling(hvae.img_size, 4)
    assert (op.A(x) - y).abs().max() < 1e-5
    free = super_resolve(hvae, encoder, y, 3, 0.8, False, generator=generator_from(0))
    assert (op.A(free) - y).abs().max() > 0.01


def test_two_calls_without_a_generator_agree(small):
    hvae, encoder = small
    y = torch.full((1, 1, 4, 4), 0.5)
    assert torch.equal(super_resolve(hvae, encoder, y, 2), super_resolve(hvae, encoder, y, 2))


def test_temperature_acts_on_the_groups_from_k_on(small):
    """The groups that y tells are drawn as they are: samples differ at temperature 0 too."""
    hvae, encoder = small
    y = torch.full((1, 1, 4, 4), 0.5)
    cold = super_resolve(hvae, encoder, y, 50, 0.0, False)
    warm = super_resolve(hvae, encoder, y, 50, 1.0, False)
    assert 0 < cold.var(0).sum() < warm.var(0).sum()


def test_gradients_reach_the_encoder_of_measurements_only(small, generator):
    hvae, encoder = small
    hvae.requires_grad_(True)
    x = torch.rand(2, 1, 16, 16, generator=generator)
    y = bicubic_downsampling(hvae.img_size, 4).A(x)
    latent_divergence(hvae, encoder, x, y, generator=generator).sum().backward()
    assert all(p.grad is None for p in hvae.parameters())
    assert all(p.grad is not None for p in encoder.parameters())


def test_refuses_measurements_of_another_size(small):
    with pytest.raises(ValueError, match=r"expected measurements \(B, 1, 4, 4\)"):
        super_resolve(*small, torch.zeros(1, 1, 8, 8), 1)


def test_refuses_no_samples(small):
    with pytest.raises(ValueError, match="n_samples >= 1, got 0"):
        super_resolve(*small, torch.zeros(1, 1, 4, 4), 0)
