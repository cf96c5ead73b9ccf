"""Inversion of a generator: where it is affine all answers are known; where not, what they promise.

Every image has 20 pixels or so; sums over them round at about 1e-15.
"""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from course_lib.inference.latent.map_latent import (
    JointEnergy,
    LatentEnergy,
    LatentGenerator,
    Pushforward,
    bora_weight,
    conditional_mean,
    first_guess,
    map_xz,
    map_z,
)
from course_lib.models import conv_vae, linear_vae
from course_lib.operators import (
    Blur,
    CompressedSensing,
    Denoising,
    GaussianNoise,
    Inpainting,
    PhaseRetrieval,
    PoissonNoise,
    gaussian_kernel,
)
from course_lib.rng import generator_from
from course_lib.solvers import LBFGS, gradient_descent

IMG, N, K = (1, 4, 5), 20, 3  # one image, its pixels, latents
SIGMA, STD = 0.2, 0.3  # of the noise, and of images about the range of G
NOISE = GaussianNoise(SIGMA)
MASK = torch.arange(N).view(IMG) % 3 > 0
OPERATORS = {
    "denoising": Denoising(IMG, NOISE),
    "inpainting": Inpainting(MASK, NOISE),
    "blur": Blur(gaussian_kernel(std=0.8, size=3, dtype=torch.float64), IMG, NOISE),
    "sensing": CompressedSensing(8, IMG, generator_from(4), noise_model=NOISE, dtype=torch.float64),
}


@pytest.fixture(params=OPERATORS)
def op(request):
    return OPERATORS[request.param]


@pytest.fixture
def linear():
    """A linear VAE whose encoder is the exact posterior mean for STD."""
    return exact_vae(STD)


def exact_vae(std):
    vae = linear_vae(latent_dim=K, img_size=IMG).double().eval().requires_grad_(False)
    W = torch.randn(N, K, generator=generator_from(0), dtype=torch.float64)
    c = torch.rand(N, generator=generator_from(1), dtype=torch.float64)
    V = torch.linalg.solve(W.T @ W + std**2 * torch.eye(K, dtype=torch.float64), W.T)
    vae.decoder[0].weight.copy_(W)
    vae.decoder[0].bias.copy_(c)
    vae.encoder.mean.weight.copy_(V)
    vae.encoder.mean.bias.copy_(-V @ c)
    vae.noise_std.fill_(std)
    return vae


class Bent(nn.Module):
    """A smooth generator that is not linear, with the transposed map for an encoder."""

    noise_std = STD

    def __init__(self):
        super().__init__()
        g = generator_from(2)
        self.first = nn.Parameter(torch.randn(K, 12, generator=g, dtype=torch.float64))
        self.second = nn.Parameter(torch.randn(12, N, generator=g, dtype=torch.float64) / 3)
        self.eval()

    def forward(self, z):
        return (torch.tanh(z @ self.first) @ self.second).unflatten(1, IMG)

    def decode(self, z):
        return Pushforward(self, (K,)).decode(z)

    def prior(self, n, *, generator):
        return Pushforward(self, (K,)).prior(n, generator=generator)

    def encode(self, x):
        return Pushforward(lambda x: x.flatten(1) @ self.second.T @ self.first.T / 9, ()).decode(x)


def dense(op):
    """The matrix of A, (m, n)."""
    columns = op.A(torch.eye(N, dtype=torch.float64).view(N, *IMG))
    return columns.flatten(1).T


def measurements(op, n=3):
    x = torch.rand(n, *IMG, generator=generator_from(5), dtype=torch.float64)
    return op(x, generator=generator_from(6))


def linear_parts(vae):
    return vae.decoder[0].weight, vae.decoder[0].bias


def exact_map_z(vae, op, y, weight=1.0):
    """(W^T A^T A W + sigma^2 w I)^-1 W^T A^T (y - A c)."""
    W, c = linear_parts(vae)
    A = dense(op)
    AW = A @ W
    gram = AW.T @ AW + SIGMA**2 * weight * torch.eye(K, dtype=torch.float64)
    return torch.linalg.solve(gram, AW.T @ (y.flatten(1) - A @ c).T).T


def posterior_mean(op, y, mean, covariance):
    """E[x | y] for x ~ N(mean, covariance), by the dense Kalman formula; mean (n,) or (B, n)."""
    A = dense(op)
    S = A @ covariance @ A.T + SIGMA**2 * torch.eye(len(A), dtype=torch.float64)
    misfit = y.flatten(1) - mean @ A.T
    return (mean + torch.linalg.solve(S, misfit.T).T @ A @ covariance).view(-1, *IMG)


@pytest.mark.parametrize("weight", ["bayes", 7.5])
def test_linear_generator_has_a_closed_form(linear, op, weight):
    y = measurements(op)
    z = exact_map_z(linear, op, y, 1.0 if weight == "bayes" else weight)
    found = map_z(linear, op, y, latent_weight=weight, rtol=1e-14, generator=generator_from(3))
    # f is flat to 1e-16 of its value within 1e-8 of the minimum, and all starts lead there.
    torch.testing.assert_close(found.all_z, z[:, None].expand(-1, 4, -1), rtol=0, atol=1e-6)
    torch.testing.assert_close(found.x, linear.decode(z).mean, rtol=0, atol=1e-5)
    assert found.status == "converged"
    assert found.iterations < 60


def test_adam_finds_the_closed_form_too(linear):
    op = OPERATORS["sensing"]
    y = measurements(op)
    found = map_z(
        linear, op, y, method="adam", steps=1500, rtol=0, restarts=2, generator=generator_from(3)
    )
    torch.testing.assert_close(found.z, exact_map_z(linear, op, y), rtol=0, atol=1e-6)
    assert found.status == "max_iter"  # nothing is ever still to the last digit


def test_adam_is_that_of_torch():
    op, model = OPERATORS["sensing"], Bent()
    y, start = measurements(op), torch.ones(3, K).double()
    f = LatentEnergy(model, op, y, SIGMA)
    z = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([z], lr=0.07)
    for _ in range(5):
        z.grad = f.grad(z)
        optimiser.step()
    options = {"init": start, "restarts": 1, "method": "adam", "steps": 5, "step_size": 0.07}
    last = map_z(model, op, y, **options).history["objective"][-1, :, 0]
    torch.testing.assert_close(last, f(z.detach()), rtol=1e-10, atol=0)  # eps placed elsewhere


def test_inverse_hessian_meets_the_last_secant():
    """H (g_new - g_old) = z_new - z_old for the last pair, in each row with its own Hessian."""
    hessians = torch.tensor([[1.0, 10.0, 100.0], [5.0, 2.0, 0.1]], dtype=torch.float64)

    def evaluate(z, rows):
        return (hessians[rows] * z.square()).sum(1) / 2, hessians[rows] * z

    step, rows = LBFGS(step_size=0.1).start(evaluate), torch.arange(2)
    z = torch.ones(2, 3, dtype=torch.float64)
    value, grad = evaluate(z, rows)
    for _ in range(4):
        old_z, old_grad = z, grad
        z, value, grad = step(z, value, grad, rows)
        secant = step._inverse_hessian(grad - old_grad)
        torch.testing.assert_close(secant, z - old_z, rtol=0, atol=1e-13)


def test_lost_pixels_say_nothing(linear):
    op = OPERATORS["inpainting"]
    y = measurements(op)
    z = map_z(linear, op, y, rtol=1e-14, restarts=1).z
    changed = torch.where(MASK, y, 3.0)
    again = map_z(linear, op, changed, rtol=1e-14, restarts=1).z
    torch.testing.assert_close(z, again, rtol=0, atol=1e-6)  # of two minimisations


@pytest.mark.parametrize("nonlinear", [False, True])
def test_gradient_against_finite_differences(nonlinear):
    op = OPERATORS["sensing"]
    if nonlinear:
        op = PhaseRetrieval(15, IMG, generator_from(7), dtype=torch.float64)
    z = torch.randn(2, K, generator=generator_from(8), dtype=torch.float64)
    y = op.A(torch.rand(2, *IMG, generator=generator_from(9), dtype=torch.float64))
    f = LatentEnergy(Bent(), op, y, SIGMA, weight=0.7)
    value, grad = f.value_and_grad(z)
    h = 1e-5
    steps = h * torch.eye(K, dtype=torch.float64)
    differences = torch.stack([(f(z + step) - f(z - step)) / (2 * h) for step in steps], dim=1)
    # h^2 f''' + eps f / h: both below 1e-7 of the largest gradient
    torch.testing.assert_close(grad, differences, rtol=0, atol=1e-7 * grad.abs().max().item())
    torch.testing.assert_close(value, f(z), rtol=1e-14, atol=0)
    torch.testing.assert_close(f.value_and_grad(z[1:], torch.tensor([1]))[1], f.grad(z)[1:])


def test_solvers_of_images_take_it_too(linear):
    """The Hessian of a linear generator bounds the step of plain gradient descent."""
    op = OPERATORS["blur"]
    y = measurements(op)
    AW = dense(op) @ linear_parts(linear)[0]
    L = torch.linalg.matrix_norm(AW, 2).item() ** 2 / SIGMA**2 + 1
    f = LatentEnergy(linear, op, y, SIGMA)
    z = gradient_descent(f, torch.zeros(3, K).double(), step_size=1 / L, rtol=1e-12).x
    torch.testing.assert_close(z, exact_map_z(linear, op, y), rtol=0, atol=1e-8)


def test_best_of_restarts():
    """A generator that folds its line: some starts end in a worse minimum."""
    fold = Pushforward(lambda z: torch.cat([z, torch.sin(6 * z)], dim=1).view(-1, 1, 1, 2), (1,))
    op = Denoising((1, 1, 2), GaussianNoise(0.3))
    y = fold.network(torch.tensor([[1.1], [-0.4]])).double()
    many = map_z(fold, op, y, restarts=8, init="prior", generator=generator_from(0))
    assert many.all_objective.shape == (2, 8)
    assert (many.all_objective.max(1).values > many.objective + 1).all()
    torch.testing.assert_close(many.objective, many.all_objective.min(1).values, rtol=0, atol=0)
    torch.testing.assert_close(many.x, fold.decode(many.z).mean, rtol=0, atol=0)
    f = LatentEnergy(fold, op, y, 0.3)
    torch.testing.assert_close(f(many.z), many.objective, rtol=1e-12, atol=0)
    # The truth is one of the candidates that a minimum has to beat.
    assert (many.objective <= f(torch.tensor([[1.1], [-0.4]]).double())).all()


@pytest.mark.parametrize("method", ["adam", "lbfgs"])
def test_history_is_that_of_every_start(linear, method):
    op = OPERATORS["sensing"]
    found = map_z(
        Bent(),
        op,
        measurements(op),
        method=method,
        steps=80,
        rtol=1e-3,
        generator=generator_from(1),
    )
    rows = found.history["objective"]
    assert rows.shape == (found.iterations + 1, 3, 4)
    torch.testing.assert_close(rows.amin(0), found.all_objective, rtol=0, atol=0)
    if method == "lbfgs":
        assert (rows.diff(dim=0) <= 0).all()  # sufficient decrease, or no step
        still = rows.diff(dim=0).eq(0).flip(0).cummin(0).values.sum(0)
        assert still.max() > still.min()  # who settles early is frozen


def test_relu_generator_is_recovered():
    """80 Gaussian measurements determine 5 latents; 3 do not, though they are met as well."""
    g = generator_from(11)
    network = nn.Sequential(
        nn.Linear(5, 60, bias=False), nn.ReLU(), nn.Linear(60, 400, bias=False)
    ).double()
    for layer in (network[0], network[2]):
        nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.in_features), generator=g)
    network.append(nn.Unflatten(1, (1, 20, 20))).eval()
    model = Pushforward(network, (5,))
    x = network(model.prior(2, generator=g).double()).detach()

    def solve(m):
        op = CompressedSensing(m, (1, 20, 20), generator_from(12), dtype=torch.float64)
        found = map_z(
            model,
            op,
            op.A(x),
            sigma=1.0,
            latent_weight=0,
            restarts=6,
            init="prior",
            generator=generator_from(13),
        )
        error = (found.x - x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
        return error, found.objective

    error, objective = solve(80)
    assert (error < 1e-3).all()
    error, objective = solve(3)
    assert (objective < 1e-10).all()
    assert (error > 0.3).all()


def test_conditional_mean_is_the_gaussian_posterior(linear, op):
    y = measurements(op)
    z = torch.randn(3, K, generator=generator_from(14), dtype=torch.float64)
    mean = linear.decode(z).mean
    covariance = STD**2 * torch.eye(N, dtype=torch.float64)
    x = conditional_mean(linear, op, y, z)
    exact = posterior_mean(op, y, mean.flatten(1), covariance)
    torch.testing.assert_close(x, exact, rtol=0, atol=1e-12)
    if isinstance(op, Inpainting):
        torch.testing.assert_close(x[:, ~MASK], mean[:, ~MASK], rtol=0, atol=0)


@pytest.mark.parametrize("continuation", [0, 10])
def test_map_xz_of_a_linear_vae_is_the_posterior_mean(linear, op, continuation):
    """The maximum of a Gaussian over (x, z) is its mean, whose x is E[x | y]."""
    y = measurements(op)
    W, c = linear_parts(linear)
    covariance = W @ W.T + STD**2 * torch.eye(N, dtype=torch.float64)
    found = map_xz(linear, op, y, sweeps=400, tol=1e-9, continuation=continuation)
    assert found.status == "converged"
    # Linear convergence at a rate below 0.95 leaves 20 times the last change.
    torch.testing.assert_close(found.x, posterior_mean(op, y, c, covariance), rtol=0, atol=1e-6)
    # min over (x, z) of J is the marginal in y, less its constant
    A = dense(op)
    S = A @ covariance @ A.T + SIGMA**2 * torch.eye(len(A), dtype=torch.float64)
    marginal = MultivariateNormal(A @ c, S)
    expected = marginal.log_prob(A @ c) - marginal.log_prob(y.flatten(1))
    torch.testing.assert_close(found.objective, expected, rtol=1e-10, atol=0)
    if not continuation:  # the encoder is exact for the final s, and lowers J until nothing can
        assert (found.history["encoder"][:5] == 1).all()


@pytest.mark.parametrize("method", ["adam", "lbfgs"])
def test_joint_objective_never_rises(op, method):
    """An encoder that is often wrong: its proposals are refused, and z is optimised."""
    y, model = measurements(op), Bent()
    found = map_xz(model, op, y, method=method, sweeps=6, tol=1e-6)
    rows = found.history["objective"]
    assert (rows.diff(dim=0) <= 0).all()
    assert rows.shape == (found.iterations + 1, 3)
    J = JointEnergy(model, op, y, SIGMA, STD)
    torch.testing.assert_close(J(found.x, found.z), found.objective, rtol=1e-12, atol=0)
    torch.testing.assert_close(rows[-1], found.objective, rtol=0, atol=0)
    assert found.history["encoder"].mean() < 1


def test_joint_objective_after_continuation():
    op = OPERATORS["inpainting"]
    y, model = measurements(op), Bent()
    z = model.encode(first_guess(model, op, y)).mean
    found = map_xz(model, op, y, sweeps=12, continuation=4, tol=1e-4)
    first = math.sqrt(10) * STD
    x = conditional_mean(model, op, y, z, std=first)
    J = JointEnergy(model, op, y, SIGMA, first)
    torch.testing.assert_close(found.history["objective"][0], J(x, z), rtol=1e-12, atol=0)
    assert (found.history["objective"].diff(dim=0)[5:] <= 0).all()  # s is std from row 5 on
    assert found.iterations > 6
    # Even one who would stop at once goes on until s has reached std, in sweep 5.
    assert map_xz(model, op, y, sweeps=12, continuation=4, tol=1e3).iterations == 5


def test_map_xz_tends_to_map_z():
    """With s -> 0 the image cannot leave the range: the distance falls like s^2."""
    op = OPERATORS["sensing"]
    y = measurements(op)
    exact = exact_map_z(exact_vae(1), op, y)
    gaps = []
    for s in (0.08, 0.04):
        found = map_xz(exact_vae(s), op, y, sweeps=2000, tol=1e-7)
        gaps.append((found.z - exact).norm())
    assert gaps[1] < 0.02
    assert 3 < gaps[0] / gaps[1] < 4  # 4, less terms of order s^4


def test_encoder_and_prior_starts(linear):
    op = OPERATORS["denoising"]
    y = measurements(op)
    x = torch.rand(3, *IMG, generator=generator_from(15), dtype=torch.float64)
    f = LatentEnergy(linear, op, y, SIGMA)
    options = {"steps": 1, "restarts": 3}

    def starts(**init):
        found = map_z(linear, op, y, generator=generator_from(16), **options, **init)
        return found.history["objective"][0]

    drawn = linear.prior(2, generator=generator_from(16))
    expected = torch.stack([f(z.expand(3, K)) for z in drawn], dim=1)
    for first, init in {
        linear.encode(x).mean: {"x_init": x},
        linear.encode(first_guess(linear, op, y)).mean: {},
        torch.ones(3, K).double(): {"init": torch.ones(3, K).double()},
    }.items():
        objective = starts(**init)
        torch.testing.assert_close(objective[:, 0], f(first), rtol=1e-12, atol=0)
        torch.testing.assert_close(objective[:, 1:], expected, rtol=1e-12, atol=0)
    only_drawn = starts(init="prior")
    z = linear.prior(3, generator=generator_from(16))
    torch.testing.assert_close(only_drawn[0], f_of_first(f, z), rtol=1e-12, atol=0)
    # without draws no generator is needed
    assert map_z(linear, op, y, restarts=1).all_z.shape == (3, 1, K)


def f_of_first(f, z):
    """The objective of the first measurement at several latents."""
    return replace(f, y=f.y[:1].expand(len(z), *f.y.shape[1:]))(z)


def test_first_guess_is_a_gaussian_posterior(linear, op):
    y = measurements(op)
    covariance = torch.eye(N, dtype=torch.float64) / 16
    mean = linear_parts(linear)[1]  # G(0)
    exact = posterior_mean(op, y, mean, covariance)
    torch.testing.assert_close(first_guess(linear, op, y), exact, rtol=0, atol=1e-12)


def test_images_do_not_see_each_other():
    """Alone or in a batch: sums in another order, amplified by the optimisation."""
    op, model = OPERATORS["sensing"], Bent()
    y = measurements(op)
    solvers = {
        "map_z": lambda y: map_z(model, op, y, rtol=1e-12, generator=generator_from(17)),
        "map_xz": lambda y: map_xz(model, op, y, sweeps=4),
    }
    for solve in solvers.values():
        whole, alone = solve(y), solve(y[1:2])
        torch.testing.assert_close(whole.x[1:2], alone.x, rtol=0, atol=1e-6)
        torch.testing.assert_close(whole.objective[1:2], alone.objective, rtol=1e-9, atol=0)


def test_weight_of_the_published_loss():
    op, model = OPERATORS["sensing"], Bent()
    y, (m, lam) = measurements(op), (8, 0.1)
    z = torch.randn(3, K, generator=generator_from(18), dtype=torch.float64)
    published = (op.A(model(z)) - y).square().mean(1) + lam * z.square().sum(1)
    f = LatentEnergy(model, op, y, SIGMA, bora_weight(lam, m, SIGMA))
    torch.testing.assert_close(f(z) * 2 * SIGMA**2 / m, published, rtol=1e-13, atol=0)
    assert math.isclose(bora_weight(SIGMA**2 / m, m, SIGMA), 1, rel_tol=1e-15)
    assert math.isclose(bora_weight(0.1, 100, 0.1), 1e3, rel_tol=1e-15)  # MNIST, m = 100
    assert math.isclose(bora_weight(0.001, 1000, 0.01), 1e4, rel_tol=1e-15)  # CelebA, m = 1000


def test_parameters_are_left_alone():
    op, model = OPERATORS["denoising"], Bent()
    before = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        map_z(model, op, measurements(op), steps=3, generator=generator_from(19))
    map_xz(model, op, measurements(op), sweeps=2)
    for parameter, old in zip(model.parameters(), before, strict=True):
        assert parameter.requires_grad
        assert parameter.grad is None
        assert (parameter == old).all()


def test_convolutional_vae_on_another_size():
    """Latents are maps whose size follows the image, in float32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = conv_vae(
            channels=(4, 4), latent_channels=2, blocks=1, tail=4, img_size=(1, 8, 8)
        ).eval()
    assert isinstance(vae, LatentGenerator)
    op = Inpainting(torch.arange(8 * 12).view(1, 8, 12) % 2 > 0, GaussianNoise(0.1))
    y = op.A(torch.rand(2, 1, 8, 12, generator=generator_from(20)))
    found = map_z(vae, op, y, restarts=3, steps=20, generator=generator_from(21))
    assert found.x.shape == (2, 1, 8, 12)
    assert found.all_z.shape == (2, 3, 2, 2, 3)
    assert found.x.dtype == torch.float32
    assert (found.objective < found.history["objective"][0].amin(1)).all()
    joint = map_xz(vae, op, y, sweeps=3)
    assert joint.z.shape == (2, 2, 2, 3)
    assert (joint.history["objective"].diff(dim=0) <= 0).all()


def test_divergence_is_reported():
    """A logarithm of negative latents: those starts end, the others go on."""
    model = Pushforward(lambda z: z.log().view(-1, *IMG[:1], 1, 1), (1,))
    op = Denoising((1, 1, 1), GaussianNoise(0.1))
    y = torch.zeros(2, 1, 1, 1)
    bad = torch.tensor([[-1.0], [-2.0]])
    assert map_z(model, op, y, restarts=1, init=bad).status == "diverged"
    found = map_z(model, op, y, restarts=8, init="prior", generator=generator_from(0))
    assert found.all_objective.isnan().any()
    assert found.objective.isfinite().all()
    assert found.status == "converged"


def test_training_mode_is_refused(linear):
    """Batch normalisation in training mode would mix the restarts with each other."""
    op, y = OPERATORS["denoising"], measurements(OPERATORS["denoising"])
    network = nn.Sequential(nn.Linear(K, N), nn.BatchNorm1d(N), nn.Unflatten(1, IMG)).double()
    options = {"init": "prior", "steps": 2, "generator": generator_from(0)}
    model = Pushforward(network, (K,))
    with pytest.raises(ValueError, match=r"Sequential is in training mode.*Call .eval\(\)"):
        map_z(model, op, y, **options)
    network.eval()
    assert map_z(model, op, y, **options).x.shape == y.shape
    for call in (map_z, map_xz):
        with pytest.raises(ValueError, match="VAE is in training mode"):
            call(linear.train(), op, y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"restarts": 0}, "restarts >= 1"),
        ({"steps": 0}, "steps >= 1"),
        ({"sigma": 0.0}, "sigma must be a positive"),
        ({"latent_weight": -1.0}, "latent_weight must be"),
        ({"latent_weight": "bora"}, "latent_weight must be"),
        ({"method": "newton"}, "'adam' or 'lbfgs', got 'newton'"),
        ({"step_size": 0.0}, "step_size must be positive"),
        ({"init": "zero"}, "init must be 'encoder', 'prior' or a tensor"),
        ({"init": torch.zeros(3, K + 1)}, r"first latents of shape \(3, 3\)"),
        ({"init": torch.zeros(2, K)}, r"first latents of shape \(3, 3\)"),
        ({"x_init": torch.zeros(3, 1, 4, 4)}, r"x_init of shape \(3, 1, 4, 5\)"),
    ],
)
def test_options_of_map_z(linear, options, message):
    op = OPERATORS["denoising"]
    with pytest.raises(ValueError, match=message):
        map_z(linear, op, measurements(op), generator=generator_from(0), **options)


def test_errors(linear):
    op = OPERATORS["denoising"]
    y = measurements(op)
    z = torch.zeros(3, K).double()
    with pytest.raises(TypeError, match="generator"):
        map_z(linear, op, y)
    for nameless in (Denoising(IMG), Denoising(IMG, PoissonNoise(0.1))):
        for call in (map_z, map_xz):
            with pytest.raises(ValueError, match="no Gaussian noise model"):
                call(linear, nameless, y)
    with pytest.raises(ValueError, match=r"expected y of shape \(B, 1, 4, 5\)"):
        map_z(linear, op, y[..., :4])
    with pytest.raises(ValueError, match="no encoder"):
        map_xz(Pushforward(Bent(), (K,)), op, y, std=0.1)
    with pytest.raises(ValueError, match="no noise_std"):
        conditional_mean(Pushforward(Bent(), (K,)), op, y, z)
    with pytest.raises(ValueError, match="got 1 for 3"):
        conditional_mean(linear, op, y, z[:1])
    with pytest.raises(ValueError, match="continuation < sweeps, got 5 and 5"):
        map_xz(linear, op, y, sweeps=5, continuation=5)
    small = Denoising((1, 2, 2), NOISE)
    with pytest.raises(ValueError, match=r"draws images of \(1, 4, 5\).*Give both the same"):
        map_z(Bent(), small, y[..., :2, :2], restarts=1, init=z)
    phase = PhaseRetrieval(15, IMG, generator_from(7), dtype=torch.float64)
    with pytest.raises(TypeError, match="PhaseRetrieval is not linear"):
        map_z(linear, phase, phase.A(y), sigma=0.1, restarts=1)
    with pytest.raises(TypeError, match="PhaseRetrieval is not linear"):
        conditional_mean(linear, phase, phase.A(y), z, sigma=0.1)
