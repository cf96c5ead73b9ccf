"""Draws, moments and coverage of a variational posterior."""

import pytest
import torch
from linear_vae import F64, OPERATORS, H, K, LinearVAE, N, W, cubature, draw, exactly

from course_lib.inference.vble import VBLE
from course_lib.inference.vble.posterior import RunningMoments
from course_lib.metrics import interval_coverage
from course_lib.rng import generator_from

BLUR = OPERATORS["blur"]
Y = draw(1, 1, H, W, seed=7)
each_operator = pytest.mark.parametrize("op", OPERATORS.values(), ids=OPERATORS)


def fit(variant="VBLE-xz", n=1, steps=3, **options):
    """A posterior that need not be the best."""
    y, z = draw(n, 1, H, W, seed=7), draw(n, K, seed=8)
    return VBLE.variant(variant, LinearVAE()).fit(
        BLUR, y, optimiser=exactly(steps), z_init=z, **options
    )


def test_samples_have_the_moments_of_q():
    found = VBLE(LinearVAE()).fit(
        BLUR,
        Y,
        optimiser=exactly(500),
        z_init=torch.zeros(1, K, dtype=F64),
        eps=cubature(1, "z", "x"),
    )
    reference = LinearVAE().reference(BLUR)
    law = reference.joint(reference.mean_field(Y.flatten(1))).x
    samples = found.sample(20_000, generator_from(1)).flatten(2)[:, 0]
    deviation = law.covariance.diagonal().sqrt()
    # Means are known to 1 / 141 of a deviation, covariances to sqrt(2) times that: five of those.
    assert ((samples.mean(0) - law.mean[0]) / deviation).abs().max() < 5 / 141
    scaled = (samples.T.cov() - law.covariance) / deviation / deviation[:, None]
    assert scaled.abs().max() < 5 * 2**0.5 / 141


@pytest.mark.parametrize("n", [2, 5, 40])
def test_moments_are_those_of_the_same_draws(n):
    """With n - 1 degrees of freedom; 3 images in pieces of 21 draws."""
    found = fit(n=3, generator=generator_from(0))
    samples = found.sample(n, generator_from(1))
    mean, std = found.moments(n, generator_from(1))
    torch.testing.assert_close(mean, samples.mean(0), rtol=1e-12, atol=1e-13)
    variance = (samples - samples.mean(0)).square().sum(0) / (n - 1)
    torch.testing.assert_close(std, variance.sqrt(), rtol=1e-10, atol=0)


def test_mean_and_std_take_a_hundred_draws_from_the_callers_generator():
    """Another generator gives another mean; reading it does not move the generator."""
    g = generator_from(5)
    found = fit(generator=g)
    state = g.get_state()
    mean, std = found.moments(100, found.generator.clone_state())
    assert torch.equal(found.std, std)
    assert torch.equal(found.mean, mean)
    assert torch.equal(found.generator.get_state(), state)
    assert torch.equal(g.get_state(), state)
    torch.testing.assert_close(found.moments(100, g).mean, mean)  # g was where `fit` left it
    assert not torch.equal(fit(generator=generator_from(6)).mean, mean)


def test_what_the_caller_draws_later_changes_nothing():
    g = generator_from(5)
    found, untouched = fit(generator=g), fit(generator=generator_from(5))
    torch.rand(7, generator=g)
    assert torch.equal(found.mean, untouched.mean)
    assert torch.equal(found.std, untouched.std)


def test_a_point_needs_no_generator():
    found = fit("MAP-z", n=2)
    assert torch.equal(found.mean, found.decoded)
    assert not found.std.any()
    assert torch.equal(found.sample(3, None), found.decoded.expand(3, -1, -1, -1, -1))


def test_decoded_is_the_image_at_the_mean_latent():
    found = fit(generator=generator_from(0))
    at_m = LinearVAE().decode(found.parameters["m"]).mean + found.parameters["nu"]
    torch.testing.assert_close(found.decoded, at_m)


@pytest.mark.parametrize("corrected", [True, False])
def test_coverage_is_that_of_its_draws(corrected):
    found = fit(n=2, generator=generator_from(0))
    truth = found.sample(1, generator_from(9))[0]
    covered = found.coverage(truth, 50, generator_from(2), alpha=0.8, corrected=corrected)
    samples = found.sample(50, generator_from(2))
    assert torch.equal(covered, interval_coverage(samples, truth, 0.8, corrected=corrected))


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda q: q.sample(0, generator_from(0)), ValueError, r"sample: expected n >= 1, got 0"),
        (lambda q: q.moments(1, generator_from(0)), ValueError, r"moments: .* n >= 2, got 1"),
        (lambda q: q.sample(2, None), TypeError, "sample: expected a torch.Generator"),
        (lambda q: q.mean, TypeError, "moments: expected a torch.Generator"),
        (lambda q: q.coverage(Y, 20, None), TypeError, "expected a torch.Generator"),
    ],
)
def test_what_cannot_be_drawn_is_refused(ask, error, message):
    found = fit(eps=cubature(1, "z", "x"))  # no generator to take draws from
    with pytest.raises(error, match=message):
        ask(found)


@each_operator
def test_a_mean_field_posterior_is_too_narrow_in_its_own_coordinates(op):
    """a_j <= std(z_j | y), and b_i <= std(w_i | y) for w = L^T (x - G(z)), which q keeps apart.

    A pixel is a combination of both, and may be too wide: there is no inequality for it.
    """
    reference, y = LinearVAE().reference(op), draw(1, N, seed=7)
    q, exact = reference.mean_field(y), reference.posterior(y)
    whiten = torch.cat([-reference.L.T @ reference.W, reference.L.T], dim=1)
    white = (whiten @ exact.covariance @ whiten.T).diagonal()
    assert (q.a <= exact.z.covariance.diagonal().sqrt() + 1e-12).all()
    assert (q.b <= white.sqrt() + 1e-12).all()
    # What it is: one over the root of the diagonal of the precision in those coordinates.
    change = torch.cat([torch.eye(K, K + N, dtype=F64), whiten])
    precision = torch.linalg.inv(change @ exact.covariance @ change.T)
    scales = torch.cat([q.a, q.b])
    torch.testing.assert_close(precision.diagonal().rsqrt(), scales, rtol=1e-8, atol=0)


@pytest.mark.parametrize("pieces", [[2], [1, 1], [1, 1, 1], [3, 1, 4], [7, 9, 1]])
def test_moments_in_pieces_are_those_at_once(pieces):
    """Standard deviation with n - 1 degrees of freedom: of two draws it is |a - b| / sqrt(2)."""
    draws = torch.randn(sum(pieces), 2, 3, generator=generator_from(0), dtype=torch.float64)
    running = RunningMoments()
    for piece in draws.split(pieces):
        running.add(piece)
    mean, std = running.moments()
    n = len(draws)
    torch.testing.assert_close(mean, draws.sum(0) / n, rtol=1e-13, atol=1e-14)
    variance = (draws - draws.sum(0) / n).square().sum(0) / (n - 1)
    torch.testing.assert_close(std, variance.sqrt(), rtol=1e-12, atol=0)


def test_small_deviations_from_a_large_mean_keep_their_digits():
    """In float32, values near 1 with deviations of 1e-3: a sum of squares would lose them."""
    draws = 1 + 1e-3 * torch.randn(64, 500, generator=generator_from(0))
    running = RunningMoments()
    for piece in draws.split(16):
        running.add(piece)
    exact = draws.double().std(0).float()
    # Each value carries a rounding error of 6e-8, which is 6e-5 of the deviations.
    torch.testing.assert_close(running.moments().std, exact, rtol=1e-3, atol=0)
