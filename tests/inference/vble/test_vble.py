"""Variational Bayes: the linear-Gaussian case in closed form, exact divergences, and limits."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from course_lib.exact.linear_gaussian import LinearGaussian, matrix_of
from course_lib.exact.posterior_reference import grid_posterior
from course_lib.inference.latent import LatentEnergy, Starts, map_z
from course_lib.inference.vble.vble import VARIANTS, VBLE, GaussianPosterior, negative_elbo
from course_lib.kernels.banded_cholesky import BandedCholesky
from course_lib.models.structured_vae import StructuredNormal
from course_lib.operators import (
    Blur,
    Denoising,
    GaussianNoise,
    Inpainting,
    PoissonNoise,
    gaussian_kernel,
)
from course_lib.rng import generator_from, normal_like
from course_lib.solvers import LBFGS

F64 = torch.float64
H, W, K = 4, 5, 3
N = H * W
SIGMA = 0.3


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=generator_from(seed), dtype=F64)


class LinearDecoder:
    """z -> N(V z + c, (L L^T)^-1), or D(z) + the same noise for a curved D."""

    def __init__(self, seed=0, bend=0.0):
        self.V, self.c, self.bend = draw(N, K, seed=seed), draw(N, seed=seed + 1), bend
        diagonal = 1.5 + draw(1, 1, H, W, seed=seed + 2).abs()
        self.L = BandedCholesky(diagonal, 0.5 * draw(1, 4, H, W, seed=seed + 3), 1)

    def decode(self, z):
        mean = (z + self.bend * z.square()) @ self.V.T + self.c
        factor = [
            part.expand(len(z), -1, -1, -1).contiguous()
            for part in (self.L.diagonal, self.L.offdiagonal)
        ]
        return StructuredNormal(mean.view(-1, 1, H, W), BandedCholesky(*factor, 1))

    def prior(self, n, *, generator):
        return normal_like(torch.empty(n, K, dtype=F64), generator)

    def reference(self, op):
        return LinearGaussian(self.V, self.c, self.L.dense()[0], matrix_of(op), SIGMA)


def operators():
    mask = torch.rand(1, H, W, generator=generator_from(9)) < 0.5
    return {
        "denoising": Denoising((1, H, W), GaussianNoise(SIGMA)),
        "blur": Blur(gaussian_kernel(1.0, 3).double(), (1, H, W), GaussianNoise(SIGMA)),
        "inpainting": Inpainting(mask.double(), GaussianNoise(SIGMA)),
    }


OPERATORS = operators()
each_operator = pytest.mark.parametrize("op", OPERATORS.values(), ids=OPERATORS)


def cubature(latent, image):
    """Points +-sqrt(n) e_i, whose means of polynomials of degree 3 are those of white noise."""
    dims = [K if latent else 0, N if image else 0]
    n = sum(dims)
    points = math.sqrt(n) * torch.eye(n, dtype=F64)
    z, x = torch.cat([points, -points]).split(dims, dim=1)
    return (z[:, None] if latent else None, x.reshape(-1, 1, 1, H, W) if image else None)


def expanded(white, batch):
    return tuple(
        None if part is None else part.expand(len(part), batch, *part.shape[2:]) for part in white
    )


@each_operator
@pytest.mark.parametrize("nu", [True, False])
def test_linear_gaussian_closed_form(op, nu):
    """With a quadratic objective and exact means, L-BFGS ends at the closed form, to 1e-6."""
    model, y = LinearDecoder(), 2 * draw(3, 1, H, W, seed=7)
    white = expanded(cubature(True, True), 3)
    vble = VBLE(model, nu=nu)
    found = vble.fit(
        op, y, method="lbfgs", steps=2000, step_size=0.1, z_init=draw(3, K, seed=8), white=white
    )
    reference, flat = model.reference(op), y.flatten(1)
    # Fixed nu = 0: the closed form has z_bar for a Dirac image, and so it is here: b does not
    # enter the misfit of the mean.
    best = reference.mean_field(flat, nu=nu)
    close = {"rtol": 0, "atol": 1e-6}
    torch.testing.assert_close(found.law.m, best.z_bar, **close)
    torch.testing.assert_close(found.law.log_a.exp(), best.a.expand(3, -1), **close)
    torch.testing.assert_close(found.law.log_b.exp().flatten(1), best.b.expand(3, -1), **close)
    if nu:
        torch.testing.assert_close(found.law.nu.flatten(1), best.nu, **close)
        exact = reference.posterior(flat).x.mean
        torch.testing.assert_close(found.decoded.flatten(1), exact, **close)
    assert found.status == "converged"


@each_operator
def test_the_objective_is_minus_the_elbo(op):
    """For any law, not only the best one; and minus it stays below log p(y)."""
    model, y = LinearDecoder(), draw(2, 1, H, W, seed=7)
    law = GaussianPosterior(
        draw(2, K, seed=1),
        0.3 * draw(1, K, seed=2).expand(2, -1),
        0.3 * draw(1, 1, H, W, seed=3).expand(2, -1, -1, -1),
        draw(2, 1, H, W, seed=4),
    )
    white = expanded(cubature(True, True), 2)
    value, _ = negative_elbo(law, model, op, y, GaussianNoise(SIGMA), white)
    reference = model.reference(op)
    like = reference.mean_field(y.flatten(1))._replace(
        z_bar=law.m,
        a=law.log_a[0].exp(),
        nu=law.nu.flatten(1),
        b=law.log_b[0].exp().flatten(),
    )
    # Sums of some hundred terms of order 1: 1e-10 is generous against rounding.
    torch.testing.assert_close(value, -reference.elbo(y.flatten(1), like), rtol=1e-10, atol=1e-10)
    assert (value > -reference.log_evidence(y.flatten(1))).all()


def test_the_divergence_is_that_of_torch():
    """KL(q(z) || p(z)) + KL(q(x | z) || p(x | z)) by dense covariances, to 1e-12 relative."""
    model = LinearDecoder()
    law = GaussianPosterior(
        draw(1, K, seed=1),
        draw(1, K, seed=2),
        0.5 * draw(1, 1, H, W, seed=3),
        draw(1, 1, H, W, seed=4),
    )
    white = (draw(1, 1, K, seed=5), draw(1, 1, 1, H, W, seed=6))
    _, found = law.draw(model, white)
    z = law.m + law.log_a.exp() * white[0][0]
    mean = (z @ model.V.T + model.c)[0]
    root = torch.linalg.inv(model.L.dense()[0]).T
    q_root = root * law.log_b.exp().flatten()
    q = MultivariateNormal(mean + law.nu.flatten(), q_root @ q_root.T)
    p = MultivariateNormal(mean, root @ root.T)
    of_z = kl_divergence(Normal(law.m, law.log_a.exp()), Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(found[0, 0], kl_divergence(q, p) + of_z, rtol=1e-12, atol=0)


@each_operator
def test_vble_z_in_the_linear_case(op):
    """Without freedom in the image: m is the posterior mean of z and a^2 = 1 / Lambda_jj."""
    model, y = LinearDecoder(), draw(2, 1, H, W, seed=7)
    found = VBLE.variant("VBLE-z", model).fit(
        op,
        y,
        method="lbfgs",
        steps=1000,
        z_init=torch.zeros(2, K, dtype=F64),
        white=expanded(cubature(True, False), 2),
    )
    AV = matrix_of(op) @ model.V
    precision = torch.eye(K, dtype=F64) + AV.T @ AV / SIGMA**2
    right = (y.flatten(1) - model.c @ matrix_of(op).T) @ AV / SIGMA**2
    torch.testing.assert_close(
        found.law.m, torch.linalg.solve(precision, right.T).T, rtol=0, atol=1e-6
    )
    a = precision.diagonal().rsqrt()
    torch.testing.assert_close(found.law.log_a.exp(), a.expand(2, -1), rtol=0, atol=1e-6)
    exact = torch.linalg.inv(precision).diagonal().sqrt()
    assert (a <= exact + 1e-12).all()  # a mean-field law is never too wide


def test_map_z_is_map_z():
    """Its objective is -log p(z | y) up to the constants of the two densities."""
    model, op = LinearDecoder(bend=0.2), OPERATORS["blur"]
    y, z = draw(2, 1, H, W, seed=7), draw(2, K, seed=8)
    value, _ = negative_elbo(
        GaussianPosterior(z, None, None, None), model, op, y, op.noise_model, (None, None)
    )
    constant = N * math.log(SIGMA * math.sqrt(2 * math.pi))
    torch.testing.assert_close(value, LatentEnergy(model, op, y, SIGMA)(z) + constant)
    ours = VBLE.variant("MAP-z", model).fit(op, y, z_init=z, steps=300, method="lbfgs")
    theirs = map_z(model, op, y, starts=Starts(1, z), optimiser=LBFGS(300))
    torch.testing.assert_close(ours.law.m, theirs.z, rtol=0, atol=1e-6)


def test_inpainting_with_independent_pixels():
    """b = 1 where nothing is seen, (1 + s^2 / sigma^2)^-1/2 where a pixel is."""

    class Flat(LinearDecoder):
        def decode(self, z):
            return Normal(0 * z.sum() + torch.zeros(len(z), 1, H, W, dtype=F64), 0.1)

    op, y = OPERATORS["inpainting"], draw(1, 1, H, W)
    found = VBLE(Flat(), latent="point", nu=False).fit(
        op,
        y,
        method="lbfgs",
        steps=500,
        z_init=torch.zeros(1, K, dtype=F64),
        white=cubature(False, True),
    )
    expected = torch.where(op.mask.bool(), (1 + 0.01 / SIGMA**2) ** -0.5, 1.0).double()
    torch.testing.assert_close(found.law.log_b[0].exp(), expected, rtol=0, atol=1e-6)


def test_a_posterior_by_quadrature():
    """One latent, two pixels, a curved decoder: the moments of the exact posterior.

    The noise is small against the bend, so the posterior is Gaussian up to about its relative
    width; a Gaussian law finds its mean and deviation to 1e-2 of the deviation.
    """
    bend, sigma = 0.1, 0.05

    def mean_of(z):
        return torch.cat([z + bend * z**2, 1 - z], dim=1)

    class Curve(LinearDecoder):
        def decode(self, z):
            return Normal(mean_of(z).view(-1, 1, 1, 2), 1.0)

    y = torch.tensor([[0.62, 0.41]], dtype=F64)
    exact = grid_posterior(
        lambda z: (mean_of(z), torch.zeros(len(z), 2, 2, dtype=F64)),
        torch.eye(2, dtype=F64),
        y,
        sigma=sigma,
        points=2001,
    )
    op = Denoising((1, 1, 2), GaussianNoise(sigma))
    nodes = torch.tensor([-(3**0.5), 0.0, 3**0.5], dtype=F64)  # Gauss and Hermite, three points
    white = nodes[[0, 1, 1, 1, 1, 2]].view(6, 1, 1)  # weights 1/6, 2/3, 1/6
    found = VBLE.variant("VBLE-z", Curve()).fit(
        op,
        y.view(1, 1, 1, 2),
        method="lbfgs",
        steps=500,
        z_init=torch.zeros(1, 1, dtype=F64),
        white=(white, None),
    )
    deviation = exact.z_covariance[0, 0, 0].sqrt()
    assert (found.law.m[0, 0] - exact.z_mean[0, 0]).abs() < 1e-2 * deviation
    assert (found.law.log_a.exp()[0, 0] / deviation - 1).abs() < 1e-2
    assert found.history["objective"][-1, 0] >= -exact.log_evidence[0] - 1e-6


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_by_finite_differences(variant):
    model, op, y = LinearDecoder(bend=0.1), OPERATORS["blur"], draw(2, 1, H, W, seed=7)
    settings = VARIANTS[variant]
    latent, image = settings["latent"] == "gaussian", settings["image"] == "gaussian"
    sizes = [(K,), (K,) if latent else None]
    sizes += [(1, H, W) if image else None, (1, H, W) if settings["nu"] else None]
    parts = [None if size is None else 0.3 * draw(2, *size, seed=i) for i, size in enumerate(sizes)]
    white = (
        draw(2, 2, K, seed=5) if latent else None,
        draw(2, 2, 1, H, W, seed=6) if image else None,
    )

    def value(law):
        return negative_elbo(law, model, op, y, op.noise_model, white)

    unknowns = [part.requires_grad_() for part in parts if part is not None]
    grads = iter(torch.autograd.grad(value(GaussianPosterior(*parts))[1], unknowns))
    for i, part in enumerate(parts):
        if part is None:
            continue
        direction, h = draw(*part.shape, seed=20 + i), 1e-5
        ends = [
            value(
                GaussianPosterior(
                    *([*parts[:i], (part + s * h * direction).detach(), *parts[i + 1 :]])
                )
            )
            for s in (1, -1)
        ]
        slope = (ends[0][0] - ends[1][0]).sum() / (2 * h)
        # Central differences: h^2 times a third derivative, 1e-10 of values below 1e4.
        torch.testing.assert_close((next(grads) * direction).sum(), slope, rtol=1e-6, atol=1e-5)


def test_a_narrow_image_law_is_that_of_a_point():
    """nu = 0 and b -> 0: the same draws as VBLE-z, and the same objective but for -log b."""
    model, op, y = LinearDecoder(), OPERATORS["blur"], draw(2, 1, H, W, seed=7)
    m, log_a = draw(2, K, seed=1), 0.3 * draw(2, K, seed=2)
    white = (draw(3, 2, K, seed=5), draw(3, 2, 1, H, W, seed=6))
    log_b = torch.full((2, 1, H, W), math.log(1e-9), dtype=F64)
    wide, _ = negative_elbo(
        GaussianPosterior(m, log_a, log_b, None), model, op, y, op.noise_model, white
    )
    point, _ = negative_elbo(
        GaussianPosterior(m, log_a, None, None), model, op, y, op.noise_model, (white[0], None)
    )
    dropped = N * 0.5 * (1e-18 - 1 - 2 * math.log(1e-9))
    torch.testing.assert_close(wide, point + dropped, rtol=1e-6, atol=1e-6)


def test_images_do_not_know_each_other():
    model, op, y = LinearDecoder(bend=0.1), OPERATORS["blur"], draw(3, 1, H, W, seed=7)
    z, white = draw(3, K, seed=8), (draw(2, 3, K, seed=5), draw(2, 3, 1, H, W, seed=6))
    for method in ("adam", "lbfgs"):
        options = {"method": method, "steps": 20}
        together = VBLE(model).fit(op, y, z_init=z, white=white, **options)
        alone = VBLE(model).fit(
            op, y[1:2], z_init=z[1:2], white=tuple(w[:, 1:2] for w in white), **options
        )
        for ours, other in zip(together.law, alone.law, strict=True):
            torch.testing.assert_close(ours[1:2], other, rtol=0, atol=1e-8)


def test_adam_comes_close_to_the_closed_form():
    model, op, y = LinearDecoder(), OPERATORS["blur"], draw(2, 1, H, W, seed=7)
    found = VBLE(model).fit(
        op,
        y,
        steps=3000,
        step_size=0.05,
        draws=64,
        z_init=torch.zeros(2, K, dtype=F64),
        generator=generator_from(0),
    )
    best = model.reference(op).mean_field(y.flatten(1))
    # What is left is the noise of 64 draws a step, averaged over the last steps: 8 draws leave
    # errors of 4% in a, so these leave 1.4%.
    torch.testing.assert_close(found.law.log_a.exp(), best.a.expand(2, -1), rtol=2e-2, atol=0)
    torch.testing.assert_close(
        found.law.log_b.exp().flatten(1), best.b.expand(2, -1), rtol=2e-2, atol=0
    )
    exact = model.reference(op).posterior(y.flatten(1)).x
    error = (found.decoded.flatten(1) - exact.mean) / exact.covariance.diagonal().sqrt()
    assert error.abs().max() < 0.1


def test_samples_have_the_moments_of_the_law():
    model, op, y = LinearDecoder(), OPERATORS["blur"], draw(1, 1, H, W, seed=7)
    white = expanded(cubature(True, True), 1)
    found = VBLE(model).fit(
        op, y, method="lbfgs", steps=500, z_init=torch.zeros(1, K, dtype=F64), white=white
    )
    reference = model.reference(op)
    law = reference.law(reference.mean_field(y.flatten(1))).x
    samples = found.sample(20_000, generator_from(1)).flatten(2)[:, 0]
    deviation = law.covariance.diagonal().sqrt()
    # Means are known to 1 / 141 of a deviation, covariances to sqrt(2) times that: five of those.
    assert ((samples.mean(0) - law.mean[0]) / deviation).abs().max() < 5 / 141
    scaled = (samples.T.cov() - law.covariance) / deviation / deviation[:, None]
    assert scaled.abs().max() < 5 * 2**0.5 / 141
    assert found.mean.shape == found.std.shape == (1, 1, H, W)
    assert 0 <= found.coverage(y, corrected=True).item() <= 1


@each_operator
def test_a_mean_field_law_is_too_narrow_in_its_own_coordinates(op):
    """a_j <= std(z_j | y), and b_i <= std(w_i | y) for w = L^T (x - D(z)), which q keeps apart.

    A pixel is a combination of both, and may be too wide: there is no inequality for it.
    """
    reference = LinearDecoder().reference(op)
    y = draw(1, N, seed=7)
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


def test_photon_noise():
    """Photons instead of Gaussian noise: only the likelihood changes."""
    model = LinearDecoder()
    model.V, model.c = 0.1 * model.V, 1 + 0 * model.c
    truth = model.decode(draw(1, K, seed=3)).mean
    op = Denoising((1, H, W), PoissonNoise(0.01))
    y = op(truth, generator=generator_from(1))
    found = VBLE(model, nu=False, image="point").fit(
        op, y, steps=400, z_init=torch.zeros(1, K, dtype=F64), generator=generator_from(2)
    )
    assert found.status == "max_iter"
    assert (found.mean - truth).square().mean() < 0.5 * (y - truth).square().mean()


def test_a_colour_vae_without_structure(generator):
    """Independent pixels of any number of channels, and an encoder to start from."""

    class Tiny(nn.Module):
        noise_std = torch.tensor(0.1)

        def encode(self, x):
            return Normal(x.mean((2, 3)), 0.5)

        def decode(self, z):
            return Normal(z[:, :, None, None].expand(-1, -1, 4, 4), 0.1)

        def prior(self, n, *, generator):
            return torch.zeros(n, 3)

    op = Denoising((3, 4, 4), GaussianNoise(0.1))
    x = torch.rand(2, 3, 1, 1, generator=generator).expand(2, 3, 4, 4)
    y = op(x, generator=generator)
    found = VBLE(Tiny().eval()).fit(op, y, steps=50, generator=generator)
    assert found.sample(2, generator).shape == (2, 2, 3, 4, 4)
    assert (found.mean - x).square().mean() < (y - x).square().mean()


def test_bad_input(generator):
    model, op = LinearDecoder(), OPERATORS["blur"]
    y, z = draw(1, 1, H, W), torch.zeros(1, K, dtype=F64)
    with pytest.raises(ValueError, match="latent must be 'gaussian' or 'point', got 'dirac'"):
        VBLE(model, latent="dirac")
    with pytest.raises(ValueError, match="no room for nu"):
        VBLE(model, image="point")
    with pytest.raises(ValueError, match=r"there is MAP-z, .*got 'VBLE'"):
        VBLE.variant("VBLE", model)
    with pytest.raises(ValueError, match="has no encoder to start from"):
        VBLE(model).fit(op, y, generator=generator)
    with pytest.raises(ValueError, match=r"expected y of shape \(B, 1, 4, 5\)"):
        VBLE(model).fit(op, y[..., :4], z_init=z, generator=generator)
    with pytest.raises(ValueError, match="has no noise model; give noise"):
        VBLE(model).fit(Denoising((1, H, W)), y, z_init=z, generator=generator)
    silent = Denoising((1, H, W), lambda clean, *, generator: clean)
    with pytest.raises(TypeError, match="no negative_log_likelihood"):
        VBLE(model).fit(silent, y, z_init=z, generator=generator)
    with pytest.raises(TypeError, match="Generator"):
        VBLE(model).fit(op, y, z_init=z)
    with pytest.raises(ValueError, match="method must be 'adam' or 'lbfgs', got 'sgd'"):
        VBLE(model).fit(op, y, method="sgd", z_init=z, generator=generator)
    with pytest.raises(ValueError, match="expected steps >= 1, draws >= 1"):
        VBLE(model).fit(op, y, steps=0, z_init=z, generator=generator)
    with pytest.raises(ValueError, match="sigma is 0, and y = A"):
        VBLE(model).fit(op, y, noise=0.0, z_init=z, generator=generator)
    found = VBLE.variant("MAP-z", model).fit(op, y, steps=1, z_init=z)
    assert found.sample(3, generator).shape == (3, 1, 1, H, W)
    with pytest.raises(ValueError, match="expected n >= 1, got 0"):
        found.sample(0, generator)
