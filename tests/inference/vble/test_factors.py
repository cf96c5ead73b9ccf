"""Each factor against dense Gaussians of torch."""

import pytest
import torch
from linear_vae import F64, H, K, LinearVAE, W, draw
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from course_lib.inference.vble.factors import (
    STANDARD_NORMAL,
    Gaussian,
    GaussianPosterior,
    Point,
    Shifted,
    draw_eps,
)
from course_lib.rng import generator_from

LOG_B, NU, LOG_A, M = (
    0.5 * draw(2, 1, H, W, seed=3),
    draw(2, 1, H, W, seed=4),
    draw(2, K),
    draw(2, K),
)
IMAGE = Shifted(Gaussian(LOG_B), NU)


def dense(p):
    """Mean, and L^-T, of each image."""
    return p.mean.flatten(1), torch.linalg.inv(p.precision_cholesky.dense()).mT


@pytest.fixture
def p():
    """A prior of images with a correlated L."""
    return LinearVAE().decode(draw(2, K, seed=5))


def test_a_gaussian_of_the_image_is_that_of_torch(p):
    """KL by dense covariances, to 1e-12 relative."""
    mean, root = dense(p)
    narrow = root * LOG_B.exp().flatten(1)[:, None]
    q = MultivariateNormal(mean + NU.flatten(1), narrow @ narrow.mT)
    exact = kl_divergence(q, MultivariateNormal(mean, root @ root.mT))
    torch.testing.assert_close(IMAGE.kl(p), exact, rtol=1e-12, atol=0)
    eps = draw(2, 1, H, W, seed=6)
    drawn = mean + NU.flatten(1) + (narrow @ eps.flatten(1)[..., None]).squeeze(-1)
    torch.testing.assert_close(IMAGE.draw(p, eps).flatten(1), drawn, rtol=1e-12, atol=1e-12)


def test_a_gaussian_of_the_latent_is_that_of_torch():
    q = Shifted(Gaussian(LOG_A), M)
    exact = kl_divergence(Normal(M, LOG_A.exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(q.kl(STANDARD_NORMAL), exact, rtol=1e-12, atol=0)
    eps = draw(2, K, seed=7)
    torch.testing.assert_close(q.draw(STANDARD_NORMAL, eps), M + LOG_A.exp() * eps)


def test_independent_pixels_are_a_diagonal_factor():
    """A decoder with `.stddev` is one whose L is I / stddev."""
    p = Normal(draw(2, 1, H, W), 0.3)
    exact = kl_divergence(Normal(p.mean + NU, 0.3 * LOG_B.exp()), p).flatten(1).sum(1)
    torch.testing.assert_close(IMAGE.kl(p), exact, rtol=1e-12, atol=0)
    eps = draw(2, 1, H, W, seed=6)
    torch.testing.assert_close(IMAGE.draw(p, eps), p.mean + NU + 0.3 * LOG_B.exp() * eps)


def test_a_point_is_the_prior_mean_and_leaves_its_term_out(p):
    """Errata E18: as s -> 0 a Gaussian draws the same, but its divergence grows like -log s."""
    eps = draw(2, 1, H, W, seed=6)
    narrow = Gaussian(torch.full((2, 1, H, W), -40.0, dtype=F64))
    torch.testing.assert_close(narrow.draw(p, eps), Point().draw(p, None), rtol=0, atol=1e-12)
    assert Point().kl(p) == 0
    torch.testing.assert_close(narrow.kl(p), torch.full((2,), H * W * (40 - 0.5), dtype=F64))
    moved = Shifted(Point(), M)
    torch.testing.assert_close(moved.kl(STANDARD_NORMAL), M.square().sum(1) / 2)
    torch.testing.assert_close(moved.draw(STANDARD_NORMAL, None), M)


def test_draws_are_made_for_gaussians_only():
    """First those of the latent, then those of the image, from one generator."""
    eps = draw_eps({"m": M, "log_a": LOG_A, "log_b": LOG_B}, 5, generator_from(1))
    g = generator_from(1)
    for name, size in (("z", (5, 2, K)), ("x", (5, 2, 1, H, W))):
        assert torch.equal(eps[name], torch.randn(size, generator=g, dtype=F64))
    assert draw_eps({"m": M, "nu": NU}, 5, None) == {}
    q = GaussianPosterior.of({"m": M, "log_b": LOG_B})
    assert isinstance(q.z.factor, Point)
    assert isinstance(q.x, Gaussian)
