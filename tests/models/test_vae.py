"""The ELBO against closed forms: probabilistic PCA, torch's own divergences, finite differences."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from course_lib.models.vae import VAE, rate, reparameterise
from course_lib.models.vae_networks import compact_vae, conv_vae, linear_vae
from course_lib.rng import generator_from

N, K = 6, 2  # numbers in an image, latents


@pytest.fixture
def world():
    """A Gaussian world with known covariance, and samples of it as images (B, 1, 2, 3)."""
    generator = generator_from(0)
    axes = torch.linalg.qr(torch.randn(N, N, generator=generator, dtype=torch.float64)).Q
    eigenvalues = torch.tensor([4.0, 2.0, 0.3, 0.2, 0.1, 0.1], dtype=torch.float64)
    draws = torch.randn(20_000, N, generator=generator, dtype=torch.float64)
    x = draws * eigenvalues.sqrt() @ axes.T + 0.5
    x = x - x.mean(0) + 0.5
    covariance = x.T.cov(correction=0)
    values, vectors = torch.linalg.eigh(covariance)
    return x.view(-1, 1, 2, 3), values.flip(0), vectors.flip(1)


@pytest.fixture
def optimum(world):
    """The linear VAE at the maximum: W = U (L - s^2)^(1/2), q the exact posterior."""
    _, values, vectors = world
    s2 = values[K:].mean()
    weights = vectors[:, :K] * (values[:K] - s2).sqrt()
    gram = (values[:K] - s2) + s2  # W^T W + s^2, diagonal
    vae = linear_vae(latent_dim=K, img_size=(1, 2, 3)).double()
    with torch.no_grad():
        vae.decoder[0].weight.copy_(weights)
        vae.decoder[0].bias.fill_(0.5)
        vae.encoder.mean.weight.copy_(weights.T / gram[:, None])
        vae.encoder.mean.bias.copy_(-(weights.T / gram[:, None]).sum(1) * 0.5)
        vae.encoder.log_std.copy_((s2 / gram).log() / 2)
        vae.noise_std.copy_(s2.sqrt())
    return vae


def log_likelihood(x, vae):
    """log N(x; b, W W^T + s^2 I), nats per image: what every bound must stay below."""
    weights, bias = vae.decoder[0].weight, vae.decoder[0].bias
    covariance = weights @ weights.T + vae.noise_std**2 * torch.eye(N, dtype=x.dtype)
    return MultivariateNormal(bias, covariance).log_prob(x.flatten(1))


def best_log_likelihood(values):
    """Of any k-dimensional linear model, per image (Tipping & Bishop 1999)."""
    s2 = values[K:].mean()
    return -0.5 * (N * math.log(2 * math.pi) + values[:K].log().sum() + (N - K) * s2.log() + N)


def expected_elbo(x, vae):
    """The mean over the draw of z, in closed form for a linear decoder."""
    q, s2 = vae.encode(x), vae.noise_std**2
    residual = (vae.decode(q.mean).mean - x).flatten(1).pow(2).sum(1)
    spread = (q.variance * vae.decoder[0].weight.pow(2).sum(0)).sum(1)
    distortion = (residual + spread) / (2 * s2) + N / 2 * (2 * math.pi * s2).log()
    return -(distortion + rate(q))


def test_linear_vae_reaches_probabilistic_pca(world, optimum):
    """At the optimum ELBO = log p(x) for every x, and its mean is the best log-likelihood."""
    x, values, _ = world
    with torch.no_grad():
        elbo = expected_elbo(x, optimum)
        exact = log_likelihood(x, optimum)
    torch.testing.assert_close(elbo, exact, rtol=0, atol=1e-10)  # rounding of sums of 10 terms
    assert abs(elbo.mean() - best_log_likelihood(values)) < 1e-10


def test_drawn_elbo_averages_to_the_expected_one(world, optimum):
    """With the exact posterior one draw has spread ~1 nat: 20,000 draws give 3 sigma = 0.03."""
    x, _, _ = world
    with torch.no_grad():
        drawn = optimum.elbo(x, generator=generator_from(1)).value
        expected = expected_elbo(x, optimum)
    gap = drawn - expected
    assert gap.mean().abs() < 4 * gap.std() / len(x) ** 0.5


@pytest.mark.slow
def test_training_finds_the_optimum(world):
    """Adam on the one-draw ELBO comes within 0.01 nats per dimension of the best value."""
    x, values, _ = world
    vae = linear_vae(latent_dim=K, img_size=(1, 2, 3)).double()
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.copy_(
                0.3 * torch.randn(parameter.shape, generator=generator_from(2), dtype=x.dtype)
            )
    log_std = torch.zeros((), dtype=x.dtype, requires_grad=True)
    optimiser = torch.optim.Adam([*vae.parameters(), log_std], lr=0.02)
    generator = generator_from(3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 1500)
    for _ in range(1500):
        batch = x[torch.randint(len(x), (256,), generator=generator)]
        vae.noise_std = log_std.exp()
        loss = -vae.elbo(batch, generator=generator).value.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        vae.noise_std = log_std.exp()
        reached = expected_elbo(x, vae).mean()
    best = best_log_likelihood(values)
    assert best - 0.01 * N < reached <= best + 1e-9


def test_importance_bound_rises_to_the_log_likelihood(world, optimum):
    """With a wrong q the bound is loose at K = 1, tighter with every sample, never above."""
    x = world[0][:2000]
    with torch.no_grad():
        optimum.encoder.log_std += 0.7
        exact = log_likelihood(x, optimum).mean()
        bounds = [
            optimum.importance_bound(x, k, generator=generator_from(4)).mean()
            for k in (1, 4, 16, 256)
        ]
    assert bounds[0] < bounds[1] < bounds[2] < bounds[3]
    assert bounds[3] < exact + 0.02  # 2000 images: the mean's own spread is below 0.01
    assert exact - bounds[3] < 0.05


def test_rate_is_the_divergence():
    mean = torch.randn(5, 3, 2, 2, dtype=torch.float64, generator=generator_from(0))
    q = Normal(mean, mean.exp())
    prior = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = kl_divergence(q, prior).flatten(1).sum(1)
    by_hand = 0.5 * (q.mean**2 + q.variance - 1 - q.variance.log()).flatten(1).sum(1)
    torch.testing.assert_close(rate(q), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(rate(q), by_hand, rtol=1e-12, atol=0)


def test_gradient_by_reparameterisation():
    """With the draw held fixed the ELBO is a smooth function of what the encoder says."""
    vae = conv_vae(channels=[4], latent_channels=2, blocks=1, tail=4, img_size=(1, 4, 4)).double()
    x = torch.rand(2, 1, 4, 4, dtype=torch.float64, generator=generator_from(0))

    def objective(statistics):
        mean, log_std = statistics.chunk(2, 1)
        z = reparameterise(Normal(mean, log_std.exp()), generator_from(1))
        return vae.decode(z).log_prob(x).sum()

    statistics = vae.encoder(x).detach().requires_grad_()
    assert torch.autograd.gradcheck(objective, (statistics,))


def test_best_noise_level_is_the_root_mean_square_residual(world, optimum):
    """The ELBO as a function of s alone is largest there: both neighbours are lower."""
    x = world[0][:500]
    q = optimum.encode(x)
    residual = optimum.decode(reparameterise(q, generator_from(5))).mean - x
    best = residual.pow(2).mean().sqrt()
    values = []
    for scale in (0.98, 1.0, 1.02):
        optimum.noise_std.copy_(scale * best)
        with torch.no_grad():
            values.append(optimum.elbo(x, generator=generator_from(5)).value.mean())
    assert values[1] > max(values[0], values[2])


@pytest.mark.parametrize(
    ("vae", "latent"),
    [
        (conv_vae(channels=[4, 6, 8], latent_channels=3, blocks=1, tail=4), (3, 8, 8)),
        (compact_vae(channels=[4, 6, 8], latent_dim=5, width=16, blocks=1, tail=4), (5,)),
    ],
    ids=["conv", "compact"],
)
def test_shapes_and_prior_samples(vae, latent):
    x = torch.rand(2, 1, 64, 64, generator=generator_from(0))
    with torch.no_grad():
        assert vae.encode(x).mean.shape == (2, *latent)
        assert vae.decode(vae.encode(x).mean).mean.shape == x.shape
        elbo = vae.elbo(x, generator=generator_from(0))
        assert elbo.rate.shape == elbo.distortion.shape == (2,)
        samples = vae.sample(3, generator=generator_from(1))
    assert samples.shape == (3, 1, 64, 64)
    assert samples.isfinite().all()
    for call in (vae.elbo, lambda x, generator: vae.importance_bound(x, 2, generator=generator)):
        with pytest.raises(TypeError, match="generator"):
            call(x, generator=None)


def test_convolutional_vae_takes_other_sizes():
    vae = conv_vae(channels=[4, 6, 8], latent_channels=3, blocks=1, tail=4)
    with torch.no_grad():
        assert vae.encode(torch.rand(1, 1, 32, 80)).mean.shape == (1, 3, 4, 10)
        assert vae.sample(2, generator=generator_from(0), img_size=(48, 32)).shape == (2, 1, 48, 32)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 64, 64), r"shape \(B, 1, H, W\), got \(2, 3, 64, 64\)"),
        ((1, 64, 64), r"shape \(B, 1, H, W\), got \(1, 64, 64\)"),
        ((1, 1, 60, 64), r"multiples of 8, got 60 x 64"),
    ],
)
def test_images_that_do_not_fit(shape, message):
    vae = conv_vae(channels=[4, 6, 8], latent_channels=3, blocks=1, tail=4)
    with pytest.raises(ValueError, match=message):
        vae.encode.__wrapped__(vae, torch.zeros(shape))  # past the test's own shape checker
    small = compact_vae(channels=[4, 6, 8], latent_dim=5, width=16, blocks=1, tail=4)
    with pytest.raises(ValueError, match=r"one latent vector for images of \(1, 64, 64\)"):
        small.encode(torch.zeros(1, 1, 32, 32))


class Given(nn.Module):
    """An encoder whose means are x times some factors, with given log standard deviations."""

    def __init__(self, factors, log_std):
        super().__init__()
        self.factors, self.log_std = torch.tensor(factors), torch.tensor(log_std)

    def forward(self, x):
        return torch.cat([x.flatten(1) * self.factors, self.log_std.expand(len(x), -1)], dim=1)


def test_a_latent_is_active_if_its_mean_has_a_variance_above_one_hundredth(generator):
    """Standard deviations 0.05 and 0.2 of the mean: variances 0.0025 and 0.04."""
    encoder = Given([0.05, 0.2, 0.0], [0.0] * 3)
    vae = VAE(encoder, nn.Identity(), latent_shape=(3,), img_size=(1, 1, 1))
    assert vae.active_latents(torch.randn(1000, 1, 1, 1, generator=generator)) == 1


def test_standard_deviations_of_latents_are_bounded():
    """log std of q(z | x) is kept in [-6, 2]; the prior has 0."""
    encoder = Given([0.0] * 3, [-50.0, 0.5, 50.0])
    vae = VAE(encoder, nn.Identity(), latent_shape=(3,), img_size=(1, 1, 1))
    found = vae.encode(torch.zeros(1, 1, 1, 1)).stddev.log()
    torch.testing.assert_close(found, torch.tensor([[-6.0, 0.5, 2.0]]))
