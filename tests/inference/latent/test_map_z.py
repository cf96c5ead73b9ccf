"""The most probable latent: where the generator is affine all answers are known; where not, what
theorems promise.

Every image has 20 pixels or so; sums over them round at about 1e-15.
"""

import math

import pytest
import torch
from helpers import assert_batch_independent
from latent_world import (
    IMG,
    MASK,
    NOISE,
    OPERATORS,
    PHASE,
    SIGMA,
    Bent,
    K,
    linear_parts,
    measurements,
)
from torch import nn

from course_lib.exact import matrix_of
from course_lib.inference.latent import (
    LatentEnergy,
    LatentGenerator,
    Pushforward,
    Starts,
    Sweeps,
    map_xz,
    map_z,
)
from course_lib.models import conv_vae
from course_lib.operators import (
    CompressedSensing,
    Denoising,
    GaussianNoise,
    Inpainting,
    PoissonNoise,
)
from course_lib.rng import generator_from
from course_lib.solvers import LBFGS, Adam

EXACT = LBFGS(rtol=1e-14)


def exact_map_z(vae, op, y, weight=1.0):
    """(W^T A^T A W + sigma^2 w I)^-1 W^T A^T (y - A c)."""
    (W, c), A = linear_parts(vae), matrix_of(op)
    AW = A @ W
    gram = AW.T @ AW + SIGMA**2 * weight * torch.eye(K, dtype=torch.float64)
    return torch.linalg.solve(gram, AW.T @ (y.flatten(1) - A @ c).T).T


@pytest.mark.parametrize("weight", [1.0, 7.5])
def test_linear_generator_has_a_closed_form(linear, op, weight):
    y = measurements(op)
    z = exact_map_z(linear, op, y, weight)
    found = map_z(linear, op, y, latent_weight=weight, optimiser=EXACT, generator=generator_from(3))
    # f is flat to 1e-16 of its value within 1e-8 of the minimum, and all starts lead there.
    torch.testing.assert_close(found.all_z, z[:, None].expand(-1, 4, -1), rtol=0, atol=1e-6)
    torch.testing.assert_close(found.x, linear.decode(z).mean, rtol=0, atol=1e-5)
    assert found.status == "converged"
    assert found.iterations < 60


@pytest.mark.slow
def test_adam_finds_the_closed_form_too(linear):
    op = OPERATORS["sensing"]
    y = measurements(op)
    found = map_z(
        linear,
        op,
        y,
        starts=Starts(2),
        optimiser=Adam(max_iter=1500, rtol=0.0),
        generator=generator_from(3),
    )
    torch.testing.assert_close(found.z, exact_map_z(linear, op, y), rtol=0, atol=1e-6)
    assert found.status == "max_iter"  # nothing is ever still to the last digit


def test_lost_pixels_say_nothing(linear):
    op = OPERATORS["inpainting"]
    y = measurements(op)
    z, again = (
        map_z(linear, op, v, starts=Starts(1), optimiser=EXACT).z
        for v in (y, torch.where(MASK, y, 3.0))
    )
    torch.testing.assert_close(z, again, rtol=0, atol=1e-6)  # of two minimisations


def test_best_of_starts():
    """A generator that folds its line: some starts end in a worse minimum."""
    fold = Pushforward(lambda z: torch.cat([z, torch.sin(6 * z)], dim=1).view(-1, 1, 1, 2), (1,))
    op = Denoising((1, 1, 2), GaussianNoise(0.3))
    y = fold.network(torch.tensor([[1.1], [-0.4]])).double()
    many = map_z(fold, op, y, starts=Starts(8, "prior"), generator=generator_from(0))
    assert many.all_objective.shape == (2, 8)
    assert (many.all_objective.max(1).values > many.objective + 1).all()
    torch.testing.assert_close(many.objective, many.all_objective.min(1).values, rtol=0, atol=0)
    torch.testing.assert_close(many.x, fold.decode(many.z).mean, rtol=0, atol=0)
    f = LatentEnergy(fold, op, y, 0.3)
    torch.testing.assert_close(f(many.z), many.objective, rtol=1e-12, atol=0)
    # The truth is one of the candidates that a minimum has to beat.
    assert (many.objective <= f(torch.tensor([[1.1], [-0.4]]).double())).all()


@pytest.mark.parametrize("optimiser", [Adam(80, rtol=1e-3), LBFGS(80, rtol=1e-3)])
def test_history_is_that_of_every_start(optimiser):
    op = OPERATORS["sensing"]
    found = map_z(Bent(), op, measurements(op), optimiser=optimiser, generator=generator_from(1))
    rows = found.history["objective"]
    assert rows.shape == (found.iterations + 1, 3, 4)
    torch.testing.assert_close(rows.amin(0), found.all_objective, rtol=0, atol=0)
    if isinstance(optimiser, LBFGS):
        assert (rows.diff(dim=0) <= 0).all()  # sufficient decrease, or no step
        still = rows.diff(dim=0).eq(0).flip(0).cummin(0).values.sum(0)
        assert still.max() > still.min()  # who settles early is frozen


def test_history_is_the_objective_of_each_point():
    """L-BFGS never goes up, so a run of k steps ends at its best point; the start comes first."""
    op, model = OPERATORS["sensing"], Bent()
    y = measurements(op)
    z0 = Starts(2).draw(model, op, y, sigma=SIGMA, generator=generator_from(1))

    def run(k):
        optimiser, generator = LBFGS(k, rtol=0.0), generator_from(1)
        return map_z(model, op, y, starts=Starts(2), optimiser=optimiser, generator=generator)

    rows = run(5).history["objective"]
    for k in range(6):
        z = run(k).all_z if k else z0
        residual = op.A(model(z.flatten(0, 1))).flatten(1) - y.repeat_interleave(2, 0).flatten(1)
        fit = residual.square().sum(1).view(3, 2) / (2 * SIGMA**2)
        expected = fit + z.square().sum(2) / 2
        torch.testing.assert_close(rows[k], expected, rtol=1e-12, atol=0)


SENSED = (1, 20, 20)


@pytest.fixture(scope="module")
def expansion():
    """A random ReLU network without biases, from 5 latents to 400 pixels."""
    g = generator_from(11)
    network = nn.Sequential(
        nn.Linear(5, 60, bias=False), nn.ReLU(), nn.Linear(60, 400, bias=False)
    ).double()
    for layer in (network[0], network[2]):
        nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.in_features), generator=g)
    return network.append(nn.Unflatten(1, SENSED)).eval().requires_grad_(False)


def sense(network, m):
    """Images of the network, m Gaussian measurements of them, and what map_z makes of these."""
    model = Pushforward(network, (5,))
    x = network(model.prior(2, generator=generator_from(12)).double())
    op = CompressedSensing(m, SENSED, generator_from(12), dtype=torch.float64)
    f = LatentEnergy(model, op, op.A(x), 1.0, weight=0.0)
    z0 = model.prior(2, generator=generator_from(13)).double()
    z0 = torch.where((f(z0) < f(-z0))[:, None], z0, -z0)
    return x, op, map_z(model, op, op.A(x), sigma=1.0, latent_weight=0.0, starts=Starts(1, z0))


def test_relu_generator_is_recovered(expansion):
    """80 measurements of 5 latents: beside the truth, f has a false valley near its negative only.

    So descent from the better of z and -z ends at the truth.
    Source: Huang, Heckel, Hand & Voroninski 2021, doi:10.1007/s00041-021-09830-5.
    """
    x, _, found = sense(expansion, 80)
    assert (found.objective < 1e-20).all()  # squares of rounding
    torch.testing.assert_close(found.x, x, rtol=0, atol=1e-8 * x.abs().max().item())


def test_fewer_measurements_than_latents_determine_nothing(expansion):
    """3 measurements of 5 latents are met, and as well by images a whole step away.

    The network is linear as far as the nearest kink, and there A J has a kernel: moving along it
    changes the image and no measurement.
    """
    _, op, found = sense(expansion, 3)
    assert (found.objective < 1e-10).all()
    for z in found.z:
        J = torch.autograd.functional.jacobian(lambda v: expansion(v[None])[0], z).flatten(0, -2)
        kernel = torch.linalg.svd(op.A(J.T.view(5, *SENSED)).T)[2][3:]
        rates = (expansion[0](kernel[:1]) / expansion[0](z)).abs()
        other = z + 0.5 / rates.max() * kernel[0]
        change = expansion(other[None]) - expansion(z[None])
        assert change.norm() > 0
        assert op.A(change).norm() <= 1e-10 * change.norm()


@pytest.mark.slow
def test_images_do_not_see_each_other():
    """Alone or in a batch: sums in another order, amplified by the optimisation."""
    op, model = OPERATORS["sensing"], Bent()

    def solve(y):
        return map_z(model, op, y, optimiser=LBFGS(rtol=1e-12), generator=generator_from(17))

    assert_batch_independent(lambda y: solve(y).x, measurements(op), rtol=0, atol=1e-6)
    assert_batch_independent(lambda y: solve(y).objective, measurements(op), rtol=1e-9)


def test_parameters_are_left_alone():
    op, model = OPERATORS["denoising"], Bent()
    before = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        map_z(model, op, measurements(op), optimiser=LBFGS(3), generator=generator_from(19))
    map_xz(model, op, measurements(op), sweeps=Sweeps(2))
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
    found = map_z(vae, op, y, starts=Starts(3), optimiser=LBFGS(20), generator=generator_from(21))
    assert found.x.shape == (2, 1, 8, 12)
    assert found.all_z.shape == (2, 3, 2, 2, 3)
    assert found.x.dtype == torch.float32
    assert (found.objective < found.history["objective"][0].amin(1)).all()
    joint = map_xz(vae, op, y, sweeps=Sweeps(3))
    assert joint.z.shape == (2, 2, 2, 3)
    assert (joint.history["objective"].diff(dim=0) <= 0).all()


def test_divergence_is_reported():
    """A logarithm of negative latents: those starts end, the others go on."""
    model = Pushforward(lambda z: z.log().view(-1, *IMG[:1], 1, 1), (1,))
    op = Denoising((1, 1, 1), GaussianNoise(0.1))
    y = torch.zeros(2, 1, 1, 1)
    bad = torch.tensor([[-1.0], [-2.0]])
    assert map_z(model, op, y, starts=Starts(1, bad)).status == "diverged"
    found = map_z(model, op, y, starts=Starts(8, "prior"), generator=generator_from(0))
    assert found.all_objective.isnan().any()
    assert found.objective.isfinite().all()
    assert found.status == "converged"


def test_training_mode_is_refused(linear):
    """Batch normalisation in training mode would mix the starts with each other."""
    op = OPERATORS["denoising"]
    for call in (map_z, map_xz):
        with pytest.raises(ValueError, match="VAE is in training mode"):
            call(linear.train(), op, measurements(op))


def test_bad_input(linear):
    op = OPERATORS["denoising"]
    y = measurements(op)
    with pytest.raises(ValueError, match="sigma must be a positive"):
        map_z(linear, op, y, sigma=0.0, generator=generator_from(0))
    with pytest.raises(ValueError, match="weight must be a finite number >= 0, got -1"):
        map_z(linear, op, y, latent_weight=-1.0, generator=generator_from(0))
    with pytest.raises(TypeError, match=r"map_z: expected a torch.Generator"):
        map_z(linear, op, y)
    for nameless in (Denoising(IMG), Denoising(IMG, PoissonNoise(0.1))):
        for call in (map_z, map_xz):
            with pytest.raises(ValueError, match="no Gaussian noise model"):
                call(linear, nameless, y)
    with pytest.raises(ValueError, match=r"map_z: expected y of shape \(B, 1, 4, 5\)"):
        map_z(linear, op, y[..., :4])
    with pytest.raises(TypeError, match=r"PhaseRetrieval is not linear.*from the prior"):
        map_z(linear, PHASE, PHASE.A(y), sigma=0.1, starts=Starts(1))
    small, z = Denoising((1, 2, 2), NOISE), torch.zeros(3, K).double()
    with pytest.raises(ValueError, match=r"draws images of \(1, 4, 5\).*Give both the same"):
        map_z(Bent(), small, y[..., :2, :2], starts=Starts(1, z))
