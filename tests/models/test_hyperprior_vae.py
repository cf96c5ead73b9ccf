"""A VAE with a hyperprior: its transform, its prices, its likelihood."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from course_lib.models.hyperprior_vae import (
    BLOCK,
    UNIT,
    HyperpriorVAE,
    Lapped,
    Shapes,
    cosine_basis,
    hyperprior_vae,
    typical_strength,
)
from course_lib.models.vae import gaussian
from course_lib.rng import generator_from

F64 = torch.float64


def draw(*shape, seed=0):
    """Standard normal numbers."""
    return torch.randn(*shape, generator=generator_from(seed), dtype=F64)


@pytest.fixture
def model():
    """A small one whose networks all say something: the last layers start from 0."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = hyperprior_vae(noise_std=0.05, hyper_channels=3, hyper_width=6, channels=(4, 4, 6, 8))
        for part in (
            vae.encoder.network[-1],
            vae.decoder.last,
            vae.hyper_decoder.network[-1],
            vae.head.last,
        ):
            nn.init.normal_(part.weight, std=0.1)
    return vae.double().eval().requires_grad_(False)


def test_cosine_basis_is_that_of_scipy():
    from scipy.fft import dctn

    x = draw(BLOCK, BLOCK)
    found = (cosine_basis().double() * x).sum((1, 2, 3)).view(BLOCK, BLOCK)
    # Kernels are float32: 64 terms of order 0.1, each known to 1e-7 of itself.
    expected = torch.from_numpy(dctn(x.numpy(), norm="ortho"))
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


def test_fresh_transform_is_orthogonal():
    """Synthesis is the transpose of analysis, and its inverse before training."""
    lapped, x, v = Lapped().double(), draw(2, 1, 32, 48), draw(2, 64, 4, 6, seed=1)
    torch.testing.assert_close(lapped.synthesise(lapped.analyse(x)), x, rtol=0, atol=1e-5)
    inner = (lapped.analyse(x) * v).sum()
    torch.testing.assert_close(inner, (x * lapped.synthesise(v)).sum(), rtol=1e-12, atol=0)


def test_a_fresh_model_is_the_codec_of_jpeg():
    """Latents are cosine coefficients in steps of UNIT, and no image is lost."""
    vae, x = hyperprior_vae(noise_std=0.02), torch.rand(2, 1, 32, 48, generator=generator_from(0))
    q = vae.encode(x)
    block = 2 * x[:, :, :BLOCK, :BLOCK] - 1
    first = (cosine_basis()[None] * block[:, None]).sum((2, 3, 4)) / UNIT
    torch.testing.assert_close(q.mean[:, :, 0, 0], first, rtol=1e-4, atol=1e-3)
    assert torch.equal(q.stddev, torch.ones_like(q.mean))
    torch.testing.assert_close(vae.reconstruct(x), x, rtol=0, atol=1e-5)
    p = vae.latent_prior(vae.encode_hyper(q.mean).mean)
    assert torch.equal(p.mean, torch.zeros_like(p.mean))
    strength = (typical_strength() / UNIT).expand_as(p.stddev)
    torch.testing.assert_close(p.stddev, strength, rtol=1e-5, atol=0)


def test_prices_are_those_of_torch(model):
    """KL(q(h) || N(0, I)) and, at the same draw of h, KL(q(z) || p(z | h)), in nats per image."""
    x = torch.rand(3, 1, 32, 32, generator=generator_from(1), dtype=F64)
    q = model.encode(x)
    rates = model.rates(q, generator=generator_from(2))
    q_h = model.encode_hyper(q.mean)
    eps = torch.randn(q_h.mean.shape, generator=generator_from(2), dtype=F64)
    p = model.latent_prior(q_h.mean + q_h.stddev * eps)
    expected = kl_divergence(q_h, Normal(0.0, 1.0)).flatten(1).sum(1)
    torch.testing.assert_close(rates.h, expected, rtol=1e-12, atol=0)
    expected = kl_divergence(q, p).flatten(1).sum(1)
    torch.testing.assert_close(rates.z, expected, rtol=1e-12, atol=0)
    elbo = model.elbo(x, generator=generator_from(2))
    torch.testing.assert_close(elbo.rate, rates.h + rates.z, rtol=1e-12, atol=0)


class Affine(HyperpriorVAE):
    """h -> U h -> V z, everything affine, on images of four pixels."""

    def __init__(self):
        super().__init__(
            nn.Identity(),
            nn.Identity(),
            nn.Identity(),
            nn.Identity(),
            None,
            shapes=Shapes((1, 2, 2), (3, 1, 1), (2, 1, 1)),
            noise_std=0.4,
        )
        self.U, self.V, self.sigma = draw(3, 2), draw(4, 3, seed=1), 0.5 + draw(3, seed=2).abs()
        self.unused = nn.Parameter(torch.zeros((), dtype=F64))

    def latent_prior(self, h):
        return gaussian(h @ self.U.T, self.sigma.expand(len(h), -1))

    def decode(self, z):
        return gaussian((z @ self.V.T).view(-1, 1, 2, 2), self.noise_std.double())

    @property
    def covariance(self):
        """Of z."""
        return self.U @ self.U.T + torch.diag(self.sigma**2)

    def encode_hyper(self, z):
        """E[h | x] = E[h | z = E[z | x]]; deviations of order one."""
        return gaussian(z @ torch.linalg.solve(self.covariance, self.U), 0.9 + 0 * z[:, :2])

    def encode(self, x):
        """E[z | x], and deviations of order one."""
        s2 = float(self.noise_std) ** 2
        marginal = self.V @ self.covariance @ self.V.T + s2 * torch.eye(4, dtype=F64)
        mean = x.flatten(1) @ torch.linalg.solve(marginal, self.V @ self.covariance)
        return gaussian(mean, 0.6 + 0 * mean)


def test_bounds_of_an_affine_hierarchy():
    """log p(x) is that of a Gaussian; the ELBO is below it by KL(q || p(h, z | x))."""
    vae, x = Affine(), 0.7 * draw(2, 1, 2, 2, seed=3)
    s2 = float(vae.noise_std) ** 2
    marginal = vae.V @ vae.covariance @ vae.V.T + s2 * torch.eye(4, dtype=F64)
    exact = MultivariateNormal(torch.zeros(4, dtype=F64), marginal).log_prob(x.flatten(1))

    # The posterior of (h, z) and KL(q || it), by dense algebra.
    level = torch.cat([-vae.U, torch.eye(3, dtype=F64)], dim=1) / vae.sigma[:, None]
    seen = torch.cat([torch.zeros(4, 2, dtype=F64), vae.V], dim=1) / math.sqrt(s2)
    first = torch.eye(5, dtype=F64)[:2]
    precision = first.T @ first + level.T @ level + seen.T @ seen
    mean = torch.linalg.solve(precision, (x.flatten(1) / math.sqrt(s2) @ seen).T).T
    posterior = MultivariateNormal(mean, precision_matrix=precision)
    q_z = vae.encode(x)
    q_h = vae.encode_hyper(q_z.mean)
    q = MultivariateNormal(
        torch.cat([q_h.mean, q_z.mean], 1),
        torch.diag_embed(torch.cat([q_h.stddev, q_z.stddev], 1).square()),
    )
    gap = kl_divergence(q, posterior)
    n = 20_000
    many = vae.elbo(x.repeat(n, 1, 1, 1), generator=generator_from(4)).value.view(n, 2)
    five = 5 * many.std(0) / math.sqrt(n)
    assert ((many.mean(0) - (exact - gap)).abs() < five).all()

    bound = vae.importance_bound(x, 5000, generator=generator_from(5))
    assert ((bound > many.mean(0)) & (bound < exact + 0.1)).all()
    # q is wider than the posterior, so weights are bounded; 5000 of them leave some 0.05 nats.
    torch.testing.assert_close(bound, exact, rtol=0, atol=0.2)


def test_prior_has_the_moments_of_the_hierarchy():
    vae = Affine()
    vae.hyper_shape = (2,)  # latents without a grid
    z = vae.prior(40_000, generator=generator_from(0)).double()
    expected = vae.covariance
    error = (
        (z.T.cov() - expected) / expected.diagonal().sqrt() / expected.diagonal().sqrt()[:, None]
    )
    assert error.abs().max() < 5 * math.sqrt(2 / 40_000)


def test_it_takes_images_of_any_multiple_of_16_pixels(model):
    x = torch.rand(1, 1, 32, 48, generator=generator_from(0), dtype=F64)
    given_z = model.decode(model.encode(x).mean)
    assert given_z.mean.shape == x.shape
    assert given_z.log_prob(x).shape == x.shape
    drawn = model.sample(2, generator=generator_from(0), img_size=(32, 48))
    assert drawn.shape == (2, 1, 32, 48)
    with pytest.raises(ValueError, match="must be multiples of 16"):
        model.encode(torch.zeros(1, 1, 40, 48, dtype=F64))


def test_the_transform_stays_in_full_precision():
    """Under autocast: a photograph has 256 levels, bfloat16 a third as many near 1."""
    vae, x = hyperprior_vae(noise_std=0.02), torch.rand(1, 1, 32, 32, generator=generator_from(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = vae.reconstruct(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, x, rtol=0, atol=1e-5)
