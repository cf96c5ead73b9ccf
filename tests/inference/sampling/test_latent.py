"""Long runs agree with the linear-Gaussian posterior and with sums over a grid."""

import pytest
import torch
from torch.distributions import Normal

from course_lib.exact import LinearGaussian, grid_posterior, matrix_of
from course_lib.inference.latent import LatentEnergy, MarginalPosterior, Pushforward
from course_lib.inference.sampling import sample_images, sample_latents
from course_lib.kernels.banded_cholesky import BandedCholesky
from course_lib.models import linear_vae
from course_lib.operators import (
    Blur,
    CompressedSensing,
    Denoising,
    Downsampling,
    Inpainting,
    PhaseRetrieval,
    gaussian_kernel,
)
from course_lib.rng import generator_from

IMG, N, K = (1, 4, 6), 24, 3  # one image, its pixels, latents
SIGMA, STD = 0.2, 0.3  # of the noise, and of images about the range of the decoder
OPERATORS = {
    "denoising": Denoising(IMG),
    "inpainting": Inpainting(torch.arange(N).view(IMG) % 3 > 0),
    "blur": Blur(gaussian_kernel(std=0.8, size=3, dtype=torch.float64), IMG),
    "downsampling": Downsampling(IMG, 2),
    "sensing": CompressedSensing(8, IMG, generator_from(4), dtype=torch.float64),
}


@pytest.fixture(params=OPERATORS)
def op(request):
    return OPERATORS[request.param]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=generator_from(seed), dtype=torch.float64)


class Bent:
    """A decoder that is not linear; x given z has an isotropic covariance."""

    def __init__(self):
        self.first, self.second = draw(K, 12, seed=1), draw(12, N, seed=2) / 3

    def decode(self, z):
        mean = (torch.tanh(z @ self.first) @ self.second).unflatten(1, IMG)
        return Normal(mean, STD)

    def prior(self, n, *, generator):
        return torch.randn(n, K, generator=generator, dtype=torch.float64)


class Structure:
    def __init__(self, mean, precision_cholesky):
        self.mean, self.precision_cholesky = mean, precision_cholesky


class Structured(Bent):
    """The same means; x given z has correlations that change with z."""

    def decode(self, z):
        diagonal = 3 + torch.sigmoid(z[:, :1, None, None]).expand(-1, *IMG)
        links = torch.tanh(z[:, 1:2, None, None]).expand(-1, 4, *IMG[1:]) * 0.5
        return Structure(super().decode(z).mean, BandedCholesky(diagonal, links, 1))


def linear():
    vae = linear_vae(latent_dim=K, img_size=IMG).double().eval().requires_grad_(False)
    vae.decoder[0].weight.copy_(draw(N, K, seed=3))
    vae.decoder[0].bias.copy_(draw(N, seed=4))
    return vae


def reference(vae, op):
    W, c = vae.decoder[0].weight, vae.decoder[0].bias
    return LinearGaussian(W, c, torch.eye(N).double() / STD, matrix_of(op), SIGMA)


def measurements(op, n=3):
    x = torch.rand(n, *IMG, generator=generator_from(5), dtype=torch.float64)
    y = op.A(x)
    return y + SIGMA * draw(*y.shape, seed=6)


def assert_moments(draws, ess, mean, covariance):
    """Within 4 standard errors: std / sqrt(ESS), and sqrt(2 / ESS) or so for (co)variances."""
    variance = covariance.diagonal()
    assert ((draws.mean(0) - mean).abs() <= 4 * (variance / ess).sqrt()).all()
    scale = (variance[:, None] * variance).sqrt()
    error = (torch.cov(draws.T) - covariance).abs() / scale
    assert (error <= 4 * (2 / ess.min()).sqrt()).all()


@pytest.mark.slow
@pytest.mark.parametrize("std", [STD, 0])
def test_linear_decoder(op, std):
    """Latents, and images drawn from them, have the exact posterior of the linear model."""
    vae, y = linear(), measurements(op, 2)
    model = reference(vae, op)
    if std == 0:
        model = LinearGaussian(model.W, model.c, 1e6 * torch.eye(N).double(), model.A, SIGMA)
    exact = model.posterior(y.flatten(1))
    f = MarginalPosterior(vae, op, y, SIGMA, std=std) if std else LatentEnergy(vae, op, y, SIGMA)
    chains = sample_latents(
        f,
        draw(8, 2, K, seed=8),
        n_samples=100,
        warmup=60,
        leapfrog_steps=6,
        generator=generator_from(9),
    )
    assert chains.r_hat.max() < 1.03
    assert chains.effective_sample_size.min() > 300
    z = chains.samples.flatten(0, 1)
    ess = chains.effective_sample_size
    for b in range(2):
        assert_moments(z[:, b], ess[b].clamp(max=len(z)), exact.z.mean[b], exact.z.covariance)
    if std:
        x = sample_images(vae, op, y, z, sigma=SIGMA, std=std, generator=generator_from(10))
        for b in range(2):
            one = x[:, b].flatten(1)
            assert_moments(one, ess[b].min(), exact.x.mean[b], exact.x.covariance)


@pytest.mark.slow
@pytest.mark.parametrize("structured", [False, True])
def test_images_given_the_latent(op, structured):
    """Draws of x given z and y: mean D + K (y - A D), covariance C - K A C, K by dense algebra."""
    model = Structured() if structured else Bent()
    z, y, n = draw(2, K, seed=11), measurements(op, 2), 4000
    x = sample_images(
        model,
        op,
        y,
        z.expand(n, 2, K),
        sigma=SIGMA,
        std=None if structured else STD,
        generator=generator_from(12),
    )
    given_z, A = model.decode(z), matrix_of(op)
    for b in range(2):
        C = STD**2 * torch.eye(N).double()
        if structured:
            L = given_z.precision_cholesky.dense()[b]
            C = torch.linalg.inv(L @ L.T)
        S = A @ C @ A.T + SIGMA**2 * torch.eye(len(A)).double()
        gain = torch.linalg.solve(S, A @ C).T
        mean = given_z.mean[b].flatten()
        exact = mean + gain @ (y[b].flatten() - A @ mean)
        ess = torch.tensor(float(n))
        assert_moments(x[:, b].flatten(1), ess, exact, C - gain @ A @ C)


@pytest.mark.slow
def test_structured_decoder_through_its_noise():
    """With x = G(z) + L(z)^-T e the pair (z, e) is a latent of its own; no log det is needed."""

    class TwoPixels(Bent):
        def decode(self, z):
            mean = torch.cat([z, z.square() / 2], dim=1).view(-1, 1, 1, 2)
            diagonal = (1 + z.square())[:, :, None, None].expand(-1, 1, 1, 2) * 2
            return Structure(mean, BandedCholesky(diagonal, diagonal.repeat(1, 4, 1, 1) / 2, 1))

    def law(z):
        given_z = TwoPixels().decode(z)
        L = given_z.precision_cholesky.dense()
        return given_z.mean.flatten(1), torch.linalg.inv(L @ L.mT)

    def image(ze):
        given_z = TwoPixels().decode(ze[:, :1])
        return given_z.mean + given_z.precision_cholesky.solve_t(ze[:, 1:].view(-1, 1, 1, 2))

    op = Inpainting(torch.tensor([[[True, False]]]))
    y = torch.tensor([0.4, 0.0]).double().view(1, 1, 1, 2)
    exact = grid_posterior(law, matrix_of(op)[:1], y.flatten(1)[:, :1], sigma=SIGMA)
    chains = sample_latents(
        LatentEnergy(Pushforward(image, (3,)), op, y, SIGMA),
        draw(20, 1, 3, seed=1),
        n_samples=200,
        warmup=100,
        leapfrog_steps=6,
        generator=generator_from(2),
    )
    ess = chains.effective_sample_size[0]
    assert ess.min() > 300
    ze = chains.samples.flatten(0, 2)
    assert_moments(ze[:, :1], ess[:1], exact.z_mean[0], exact.z_covariance[0])
    assert_moments(image(ze).flatten(1), ess.min(), exact.x_mean[0], exact.x_covariance[0])


@pytest.mark.slow
def test_two_pixels_from_a_bent_decoder():
    """A skewed law, and one with two modes near enough for chains to go to and fro."""

    class Curve(Bent):
        def decode(self, z):
            mean = torch.cat([torch.sin(2 * z), z.square() / 2], dim=1)
            return Normal(mean.view(-1, 1, 1, 2), STD)

    op = Inpainting(torch.tensor([[[True, True]]]))
    y = torch.tensor([[0.4, 0.1], [0.5, 0.3]]).double().view(2, 1, 1, 2)
    spread = STD**2 * torch.eye(2).double()
    exact = grid_posterior(
        lambda z: (Curve().decode(z).mean.flatten(1), spread.expand(len(z), 2, 2)),
        matrix_of(op),
        y.flatten(1),
        sigma=SIGMA,
    )
    chains = sample_latents(
        MarginalPosterior(Curve(), op, y, SIGMA, std=STD),
        draw(20, 2, 1, seed=3),
        n_samples=200,
        warmup=100,
        leapfrog_steps=8,
        generator=generator_from(4),
    )
    assert chains.r_hat.max() < 1.05
    z, ess = chains.samples.flatten(0, 1), chains.effective_sample_size
    x = sample_images(Curve(), op, y, z, sigma=SIGMA, std=STD, generator=generator_from(5))
    for b in range(2):
        assert ess[b].min() > 200
        assert_moments(z[:, b], ess[b], exact.z_mean[b], exact.z_covariance[b])
        assert_moments(x[:, b].flatten(1), ess[b].min(), exact.x_mean[b], exact.x_covariance[b])


def test_bad_input():
    vae, op, g = linear(), OPERATORS["blur"], generator_from(0)
    y = measurements(op)
    phase = PhaseRetrieval(15, IMG, generator_from(7), dtype=torch.float64)
    options = {"sigma": SIGMA, "std": STD, "generator": g}
    f = MarginalPosterior(vae, op, y, SIGMA, std=STD)
    with pytest.raises(ValueError, match=r"starts of shape \(R, 3, \.\.\.\).*got \(4, 2, 3\)"):
        sample_latents(f, draw(4, 2, K), generator=g)
    with pytest.raises(TypeError, match=r"Generator"):
        sample_latents(f, draw(4, 3, K), generator=None)
    with pytest.raises(TypeError, match=r"Generator"):
        sample_images(vae, op, y, draw(4, 3, K), sigma=SIGMA, std=STD, generator=None)
    with pytest.raises(ValueError, match=r"latents of shape \(S, 3, \.\.\.\).*got \(4, 2, 3\)"):
        sample_images(vae, op, y, draw(4, 2, K), **options)
    with pytest.raises(ValueError, match=r"sigma and std must be positive, got 0.2 and 0"):
        sample_images(vae, op, y, draw(4, 3, K), sigma=SIGMA, std=0.0, generator=g)
    with pytest.raises(TypeError, match=r"PhaseRetrieval is not linear"):
        sample_images(vae, phase, draw(3, 15), draw(4, 3, K), **options)


def test_conjugate_gradients_that_fail_say_so():
    """A factor whose transpose is not its transpose: the map is neither symmetric nor positive."""

    class NoFactor:
        def matvec(self, x):
            return 10 * x

        def matvec_t(self, x):
            return 10 * torch.roll(x, 1, -1)

    class Hopeless(Bent):
        def decode(self, z):
            return Structure(super().decode(z).mean, NoFactor())

    op = OPERATORS["blur"]
    with pytest.raises(RuntimeError, match=r"conjugate gradients stopped at a relative residual"):
        sample_images(
            Hopeless(),
            op,
            measurements(op),
            draw(1, 3, K),
            sigma=SIGMA,
            generator=generator_from(0),
        )
