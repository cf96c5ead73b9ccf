"""Variational Bayes: known posteriors, the start, and a model that stays as it is."""

import pytest
import torch
from linear_vae import (
    F64,
    OPERATORS,
    SIGMA,
    EncodingVAE,
    H,
    K,
    LinearVAE,
    W,
    cubature,
    draw,
    exactly,
)
from torch import nn
from torch.distributions import Normal

from course_lib.exact import grid_posterior, matrix_of
from course_lib.inference.latent import Starts, map_z
from course_lib.inference.vble import VBLE, StochasticAdam
from course_lib.inference.vble.vble import in_channels_last
from course_lib.models.structured_vae import structured_vae
from course_lib.models.vae_networks import compact_vae
from course_lib.operators import Denoising, GaussianNoise, PoissonNoise
from course_lib.rng import generator_from
from course_lib.solvers import LBFGS

BLUR, Y = OPERATORS["blur"], draw(2, 1, H, W, seed=7)
each_operator = pytest.mark.parametrize("op", OPERATORS.values(), ids=OPERATORS)


@each_operator
def test_vble_z_in_the_linear_case(op):
    """Without freedom in the image: m is the posterior mean of z and a^2 = 1 / Lambda_jj."""
    vae = LinearVAE()
    found = VBLE.variant("VBLE-z", vae).fit(
        op,
        Y,
        optimiser=exactly(1000),
        z_init=torch.zeros(2, K, dtype=F64),
        eps=cubature(2, "z"),
    )
    AV = matrix_of(op) @ vae.V
    precision = torch.eye(K, dtype=F64) + AV.T @ AV / SIGMA**2
    right = (Y.flatten(1) - vae.c @ matrix_of(op).T) @ AV / SIGMA**2
    m = torch.linalg.solve(precision, right.T).T
    torch.testing.assert_close(found.parameters["m"], m, rtol=0, atol=1e-6)
    a = precision.diagonal().rsqrt()
    log_a = found.parameters["log_a"]
    torch.testing.assert_close(log_a.exp(), a.expand(2, -1), rtol=0, atol=1e-6)
    exact = torch.linalg.inv(precision).diagonal().sqrt()
    assert (a <= exact + 1e-12).all()  # a mean-field posterior is never too wide


def test_map_z_is_map_z():
    vae, z, optimiser = LinearVAE(bend=0.2), draw(2, K, seed=8), exactly(300)
    ours = VBLE.variant("MAP-z", vae).fit(BLUR, Y, z_init=z, optimiser=optimiser)
    theirs = map_z(vae, BLUR, Y, starts=Starts(1, z), optimiser=LBFGS(300))
    torch.testing.assert_close(ours.parameters["m"], theirs.z, rtol=0, atol=1e-6)
    assert set(ours.parameters) == {"m"}


def test_inpainting_with_independent_pixels():
    """b = 1 where nothing is seen, (1 + s^2 / sigma^2)^-1/2 where a pixel is."""

    class Flat(LinearVAE):
        def decode(self, z):
            return Normal(0 * z.sum() + torch.zeros(len(z), 1, H, W, dtype=F64), 0.1)

    op = OPERATORS["inpainting"]
    found = VBLE(Flat(), latent="point", nu=False).fit(
        op,
        Y[:1],
        optimiser=exactly(500, 0.05),
        z_init=torch.zeros(1, K, dtype=F64),
        eps=cubature(1, "x"),
    )
    expected = torch.where(op.mask.bool(), (1 + 0.01 / SIGMA**2) ** -0.5, 1.0).double()
    torch.testing.assert_close(found.parameters["log_b"][0].exp(), expected, rtol=0, atol=1e-6)


def test_a_posterior_by_quadrature():
    """One latent, two pixels, a curved decoder: the moments of the exact posterior.

    The noise is small against the bend, so the posterior is Gaussian up to about its relative
    width; a Gaussian q finds its mean and deviation to 1e-2 of the deviation.
    """
    bend, sigma = 0.1, 0.05

    def mean_of(z):
        return torch.cat([z + bend * z**2, 1 - z], dim=1)

    class Curve(LinearVAE):
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
    eps = {"z": nodes[[0, 1, 1, 1, 1, 2]].view(6, 1, 1)}  # weights 1/6, 2/3, 1/6
    found = VBLE.variant("VBLE-z", Curve()).fit(
        op,
        y.view(1, 1, 1, 2),
        optimiser=exactly(500),
        z_init=torch.zeros(1, 1, dtype=F64),
        eps=eps,
    )
    deviation = exact.z_covariance[0, 0, 0].sqrt()
    assert (found.parameters["m"][0, 0] - exact.z_mean[0, 0]).abs() < 1e-2 * deviation
    assert (found.parameters["log_a"].exp()[0, 0] / deviation - 1).abs() < 1e-2
    assert found.history["objective"][-1, 0] >= -exact.log_evidence[0] - 1e-6


def test_photon_noise():
    """Photons instead of Gaussian noise: only the likelihood changes."""
    vae = LinearVAE()
    vae.V, vae.c = 0.1 * vae.V, 1 + 0 * vae.c
    truth = vae.decode(draw(1, K, seed=3)).mean
    op = Denoising((1, H, W), PoissonNoise(0.01))
    y = op(truth, generator=generator_from(1))
    found = VBLE(vae, nu=False, image="point").fit(
        op,
        y,
        optimiser=StochasticAdam(400),
        z_init=torch.zeros(1, K, dtype=F64),
        generator=generator_from(2),
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
    found = VBLE(Tiny().eval()).fit(op, y, optimiser=StochasticAdam(50), generator=generator)
    assert found.sample(2, generator).shape == (2, 2, 3, 4, 4)
    assert (found.mean - x).square().mean() < (y - x).square().mean()


# ------------------------------------------------------------------ the start


@pytest.mark.parametrize("given", [True, False], ids=["z_init", "encoder"])
def test_the_descent_starts_from_the_encoder_or_from_given_latents(given):
    """m, log a (log of the encoder's standard deviation; -3 at given latents), b = 1, nu = 0."""
    vae, x, z = EncodingVAE(), draw(2, 1, H, W, seed=1), draw(2, K, seed=8)
    standing = StochasticAdam(n_steps=1, step_size=1e-12)
    start = {"z_init": z} if given else {"x_init": x}
    q = VBLE(vae).fit(BLUR, Y, optimiser=standing, generator=generator_from(0), **start).parameters
    scales = torch.tensor([0.1, 0.2, 0.3], dtype=F64).log()
    expected = {
        "m": z if given else x.flatten(1)[:, :K],
        "log_a": torch.full((2, K), -3.0, dtype=F64) if given else scales.expand(2, K),
        "log_b": torch.zeros(2, 1, H, W, dtype=F64),
        "nu": torch.zeros(2, 1, H, W, dtype=F64),
    }
    assert set(q) == set(expected)
    for name, part in expected.items():
        torch.testing.assert_close(q[name], part, rtol=0, atol=1e-10)


# ------------------------------------------------------------------ the model


@pytest.mark.parametrize("build", [structured_vae, compact_vae])
def test_the_model_stays_as_it_is(build):
    """Values, strides, storage, buffers, training flags and what needs a gradient."""
    sizes = {"channels": (4, 6, 8), "tail": 4, "latent_channels": 3, "width": 4}
    sizes = (
        sizes if build is structured_vae else {"channels": (4, 4, 4), "latent_dim": 2, "width": 8}
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = build(**sizes).eval()
    next(iter(vae.parameters())).requires_grad_(False)
    op = Denoising((1, 64, 64), GaussianNoise(0.1))

    def seen():
        tensors = [*vae.named_parameters(), *vae.named_buffers()]
        return {
            name: (part.data_ptr(), part.stride(), part.requires_grad, part.grad, part._version)
            for name, part in tensors
        } | {name: module.training for name, module in vae.named_modules()}

    before, values = seen(), {name: part.clone() for name, part in vae.state_dict().items()}
    y = op(torch.rand(1, 1, 64, 64, generator=generator_from(0)), generator=generator_from(1))
    found = VBLE(vae).fit(op, y, optimiser=StochasticAdam(2), generator=generator_from(2))
    found.sample(2, generator_from(3))
    assert seen() == before
    assert all(torch.equal(part, values[name]) for name, part in vae.state_dict().items())


# ------------------------------------------------------------------ refusals


SILENT = Denoising((1, H, W), lambda clean, *, generator: clean)
G = generator_from(0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"z_init": None}, ValueError, "has no encoder to start from"),
        ({"y": Y[..., :4]}, ValueError, r"expected y of shape \(B, 1, 4, 5\)"),
        ({"op": Denoising((1, H, W))}, ValueError, "has no noise model; give noise"),
        ({"op": SILENT}, TypeError, "no negative_log_likelihood"),
        ({"generator": None}, TypeError, "VBLE.fit: expected a torch.Generator"),
        ({"noise": 0.0}, ValueError, "sigma is 0, and y = A"),
        (
            {"vae": EncodingVAE(), "z_init": None, "x_init": Y[..., :4]},
            ValueError,
            r"images to encode of shape \(2, 1, 4, 5\), got \(2, 1, 4, 4\)",
        ),
        ({"vae": structured_vae().train()}, ValueError, "in training mode"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, message):
    given = {"z_init": torch.zeros(2, K, dtype=F64), "generator": G} | change
    vae, op, y = (given.pop(k, old) for k, old in (("vae", LinearVAE()), ("op", BLUR), ("y", Y)))
    with pytest.raises(error, match=message):
        VBLE(vae).fit(op, y, **given)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"latent": "dirac"}, "latent must be 'gaussian' or 'point', got 'dirac'"),
        ({"image": "dirac"}, "image must be 'gaussian' or 'point', got 'dirac'"),
        ({"image": "point"}, "no room for nu"),
    ],
)
def test_settings_that_do_not_exist_are_refused(fields, message):
    """As without the type checker of the tests, which would refuse a wrong word by itself."""
    vble = VBLE(LinearVAE())
    vars(vble).update(fields)
    with pytest.raises(ValueError, match=message):
        vble.__post_init__()


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match=r"there is MAP-z, .*got 'VBLE'"):
        VBLE.variant("VBLE", LinearVAE())


# ------------------------------------------------------------------ layout of the weights


@pytest.fixture
def small_vae():
    """A small network in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return structured_vae(channels=(4, 6, 8), latent_channels=3, tail=4, width=4).eval()


def test_channels_last_is_the_same_network_with_weights_of_its_own(small_vae):
    twin = in_channels_last(small_vae)
    z = small_vae.prior(2, generator=generator_from(0))
    torch.testing.assert_close(twin.decode(z).mean, small_vae.decode(z).mean, rtol=1e-5, atol=1e-6)
    own = {p.data_ptr() for p in small_vae.parameters()} | {
        b.data_ptr() for b in small_vae.buffers()
    }
    copied = [
        part for m in twin.modules() for part in (*m._parameters.values(), *m._buffers.values())
    ]
    copied = [part for part in copied if part is not None]
    assert len(copied) == len([*small_vae.parameters(), *small_vae.buffers()])
    assert not own & {part.data_ptr() for part in copied}
    for part in copied:
        assert not part.requires_grad
        assert part.ndim != 4 or part.is_contiguous(memory_format=torch.channels_last)


def test_what_is_no_network_is_returned():
    model = object()
    assert in_channels_last(model) is model
