"""The reference itself, against identities that need none of its formulas."""

import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from course_lib.exact import LinearGaussian, MeanField, matrix_of
from course_lib.operators import Blur, Downsampling, Inpainting, gaussian_kernel
from course_lib.rng import generator_from

N, K, M = 7, 3, 5  # pixels, latents, measurements
EXACT = {"rtol": 1e-10, "atol": 1e-10}  # condition numbers below 1e4 times 2e-16


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=generator_from(seed), dtype=torch.float64)


@pytest.fixture
def model():
    L = draw(N, N, seed=1).tril(-1) + torch.diag(1 + draw(N, seed=2).abs())
    return LinearGaussian(draw(N, K), draw(N, seed=3), L, draw(M, N, seed=4), 0.4)


@pytest.fixture
def y():
    return 2 * draw(4, M, seed=5)


def normal(joint):
    return MultivariateNormal(joint.mean, joint.covariance)


def log_joint(model, z, x, y):
    """log p(z) p(x | z) p(y | x), term by term."""
    x_law = MultivariateNormal(z @ model.W.T + model.c, precision_matrix=model.L @ model.L.T)
    noise = model.sigma**2 * torch.eye(M, dtype=torch.float64)
    z_law = MultivariateNormal(torch.zeros(K).double(), torch.eye(K).double())
    return (
        z_law.log_prob(z) + x_law.log_prob(x) + MultivariateNormal(x @ model.A.T, noise).log_prob(y)
    )


def test_bayes_rule(model, y):
    """log p(z, x, y) - log p(y) = log p(z, x | y) wherever one looks."""
    z, x = draw(4, K, seed=6), draw(4, N, seed=7)
    found = normal(model.posterior(y)).log_prob(torch.cat([z, x], 1))
    torch.testing.assert_close(found, log_joint(model, z, x, y) - model.log_evidence(y), **EXACT)


def test_parts_of_the_posterior(model, y):
    """The posterior of z has the precision I + (A W)^T S^-1 A W, x being integrated out first."""
    S = model.A @ torch.linalg.inv(model.L @ model.L.T) @ model.A.T
    S = S + model.sigma**2 * torch.eye(M, dtype=torch.float64)
    AW = model.A @ model.W
    covariance = torch.linalg.inv(
        torch.eye(K, dtype=torch.float64) + AW.T @ torch.linalg.solve(S, AW)
    )
    mean = torch.linalg.solve(S, (y - model.c @ model.A.T).T).T @ AW @ covariance
    posterior = model.posterior(y)
    torch.testing.assert_close(posterior.z.mean, mean, **EXACT)
    torch.testing.assert_close(posterior.z.covariance, covariance, **EXACT)
    assert posterior.x.mean.shape == (4, N)
    assert posterior.x.covariance.shape == (N, N)


def test_elbo_and_evidence_differ_by_the_divergence(model, y):
    """log p(y) - ELBO = KL(q(z, x) || p(z, x | y)) for any q, by torch's formula."""
    any_q = MeanField(draw(4, K, seed=8), 0.3 + draw(K).abs(), draw(4, N), 0.2 + draw(N).abs())
    for q in (any_q, model.mean_field(y), model.mean_field(y, nu=False)):
        gap = model.log_evidence(y) - model.elbo(y, q)
        exact = kl_divergence(normal(model.joint(q)), normal(model.posterior(y)))
        torch.testing.assert_close(gap, exact, rtol=1e-9, atol=1e-9)
        assert (gap > 0).all()


@pytest.mark.parametrize("nu", [True, False])
def test_mean_field_is_the_optimum(model, y, nu):
    """All derivatives of the ELBO vanish there, and it is concave in logarithms of a and b."""
    q = model.mean_field(y, nu=nu)
    free = [q.z_bar, q.a.log(), q.nu, q.b.log()]
    free = [part.clone().requires_grad_(nu or i != 2) for i, part in enumerate(free)]
    value = model.elbo(y, MeanField(free[0], free[1].exp(), free[2], free[3].exp())).sum()
    value.backward()
    for part in free:
        if part.requires_grad:
            assert part.grad.abs().max() < 1e-10
    for seed in range(5):
        near = MeanField(
            q.z_bar + 0.1 * draw(4, K, seed=seed),
            q.a * (0.1 * draw(K, seed=seed)).exp(),
            q.nu + (0.1 * draw(4, N, seed=seed) if nu else 0),
            q.b * (0.1 * draw(N, seed=seed)).exp(),
        )
        assert (model.elbo(y, near) < model.elbo(y, q)).all()


def test_the_optimum_has_the_exact_means(model, y):
    q, exact = model.mean_field(y), model.posterior(y)
    found = model.joint(q)
    torch.testing.assert_close(found.x.mean, exact.x.mean, **EXACT)
    torch.testing.assert_close(found.z.mean, exact.z.mean, **EXACT)
    fixed = model.mean_field(y, nu=False)
    assert (model.elbo(y, fixed) < model.elbo(y, q)).all()
    assert not fixed.nu.any()


def test_without_nu_the_latent_is_the_most_probable_one(model, y):
    """argmin |A (W z + c) - y|^2 / (2 sigma^2) + |z|^2 / 2: the posterior of z if x = W z + c."""
    rigid = replace(model, L=1e5 * torch.eye(N, dtype=torch.float64))
    exact = rigid.posterior(y).z.mean
    # x keeps a variance of 1e-10, which moves the mean by 1e-8 or so
    torch.testing.assert_close(model.mean_field(y, nu=False).z_bar, exact, rtol=0, atol=1e-6)


def test_mean_field_is_never_too_wide(model, y):
    """Theorem: marginal variances of the reverse-KL optimum do not exceed the exact ones.

    It holds for the independent factors z and L^T (x - W z - c - nu), hence also for z itself.
    """
    q, exact = model.mean_field(y), model.posterior(y)
    assert (q.a**2 <= exact.z.covariance.diagonal() * (1 + 1e-12)).all()
    white = torch.cat([-model.L.T @ model.W, model.L.T], dim=1)
    whitened = white @ exact.covariance @ white.T
    assert (q.b**2 <= whitened.diagonal() * (1 + 1e-12)).all()


def test_inpainting_with_independent_pixels_is_known(y):
    """W = 0: b = 1 on lost pixels, (1 + s^2 / sigma^2)^-1/2 on seen ones, and q is exact."""
    op = Inpainting(torch.tensor([[[1, 0, 1, 1, 0]]]).bool())
    s, sigma = 0.1, 1 / 255
    white = torch.eye(5, dtype=torch.float64)
    model = LinearGaussian(torch.zeros(5, 1).double(), draw(5), white / s, matrix_of(op), sigma)
    seen = torch.tensor([1.0, 0, 1, 1, 0], dtype=torch.float64)
    q = model.mean_field(seen * y)
    assert q.b[0].item() == pytest.approx(0.0392, abs=5e-5)
    torch.testing.assert_close(
        q.b, torch.where(seen > 0, (1 + (s / sigma) ** 2) ** -0.5, 1.0).double()
    )
    # the two are differences of log-likelihoods of about 1e5 nats
    gap = model.log_evidence(seen * y) - model.elbo(seen * y, q)
    assert gap.abs().max() < 1e-7


def test_from_covariance(model, y):
    covariance = torch.linalg.inv(model.L @ model.L.T)
    other = LinearGaussian.from_covariance(model.W, model.c, covariance, model.A, model.sigma)
    torch.testing.assert_close(other.L, model.L, **EXACT)
    torch.testing.assert_close(other.log_evidence(y), model.log_evidence(y), **EXACT)


@pytest.mark.parametrize(
    "op",
    [
        Blur(gaussian_kernel(std=0.8, size=3, dtype=torch.float64), (1, 4, 6)),
        Downsampling((2, 4, 6), 2),
        Inpainting(torch.arange(24).view(1, 4, 6) % 3 > 0),
    ],
    ids=lambda op: type(op).__name__,
)
def test_matrix_of(op):
    x = draw(3, *op.img_size)
    A = matrix_of(op)
    assert A.shape == (math.prod(op.measurement_size), math.prod(op.img_size))
    torch.testing.assert_close(x.flatten(1) @ A.T, op.A(x).flatten(1), rtol=0, atol=1e-14)


def test_bad_input(model):
    with pytest.raises(ValueError, match=r"needs float64; use .double\(\)"):
        replace(model, W=model.W.float())
    with pytest.raises(ValueError, match=r"A \(m, n\), got \(7, 3\), \(7,\), \(7, 7\), \(5, 6\)"):
        replace(model, A=model.A[:, 1:])
    with pytest.raises(ValueError, match=r"lower triangular with a positive diagonal"):
        replace(model, L=model.L.T)
    with pytest.raises(ValueError, match=r"lower triangular with a positive diagonal"):
        replace(model, L=-model.L)
    with pytest.raises(ValueError, match=r"sigma must be positive, got 0"):
        replace(model, sigma=0.0)
