"""Latent and weights fitted together: linear generators, and what plain torch does image by image.

Everything is in float64, on images of 16 x 16 pixels or less.
"""

import copy
from dataclasses import replace

import pytest
import torch
from gan_world import HOLE, OPERATORS, K, gan_for, measurements, tiny_gan
from helpers import assert_batch_independent
from torch import nn
from torch.optim import Adam

from course_lib.exact import matrix_of
from course_lib.inference.latent import (
    BestDraw,
    Penalties,
    Phase,
    Progression,
    Pushforward,
    Starts,
    deep_generative_prior,
    map_z,
)
from course_lib.inference.latent.deep_generative_prior import PHASES
from course_lib.inference.latent.feature_distance import FeatureDistance
from course_lib.models import compact_vae
from course_lib.operators import (
    CompressedSensing,
    Denoising,
    Downsampling,
    GaussianNoise,
    Inpainting,
    PhaseRetrieval,
)
from course_lib.rng import generator_from
from course_lib.solvers import LBFGS

IMG, N = (1, 4, 5), 20  # an image of the linear generator, its pixels
NONE = Penalties(features=0.0, latent=0.0)
JOINT = (Phase(0, 4, 0.05, 0.0), Phase(2, 3, 0.02, 0.002, 3.0), Phase(4, 3, 0.01, 0.001, 10.0))


@pytest.fixture(params=OPERATORS)
def op(request):
    return OPERATORS[request.param]


def fit(model, op, y, *, phases=JOINT, blocks=None, tau=1.0, penalties=Penalties(), **options):
    """The method, with the draws of seed 1."""
    return deep_generative_prior(
        model,
        op,
        y,
        penalties=penalties,
        progression=Progression(phases, blocks, tau),
        generator=generator_from(1),
        **options,
    )


def linear_generator():
    network = nn.Sequential(nn.Linear(K, N, bias=False), nn.Unflatten(1, IMG)).double().eval()
    matrix = torch.randn(N, K, generator=generator_from(0), dtype=torch.float64)
    network.requires_grad_(False)[0].weight.copy_(matrix)
    return Pushforward(network, (K,))


def fading(blocks, steps, weight_rate=1.0, rates=(1e-1, 1e-2, 1e-3, 1e-4)):
    """Adam never rests at a fixed rate; each of these phases ends ten times nearer."""
    return [Phase(blocks, steps, rate, weight_rate * rate) for rate in rates]


# ------------------------------------------------------------------ linear generators


def sensing(m):
    return CompressedSensing(m, IMG, generator_from(4), dtype=torch.float64)


@pytest.mark.slow
def test_free_weights_meet_any_data_that_the_operator_can_give():
    """Theta z reaches every image once z is not 0; W z only those in the range of W."""
    op = sensing(8)
    y = torch.randn(3, 8, generator=generator_from(5), dtype=torch.float64)
    phases = [*fading(0, 80), *fading(1, 80)]
    found = fit(linear_generator(), op, y, phases=phases, penalties=NONE)
    # Adam rests within its last rate, 1e-4; A, Theta and z are of order one.
    assert (op.A(found.x) - y).abs().max() <= 1e-4

    AW = matrix_of(op) @ linear_generator().network[0].weight
    floor = (y - y @ torch.linalg.pinv(AW).T @ AW.T).square().mean(1)
    latent_only = (op.A(found.x_latent_only) - y).square().mean(1)
    torch.testing.assert_close(latent_only, floor, rtol=1e-6, atol=0)  # error enters squared
    assert (floor > 0.01).all()


@pytest.mark.slow
def test_what_no_image_explains_is_left():
    """30 measurements of 20 pixels: the residual is the part of y outside the range of A."""
    op = sensing(30)
    A = matrix_of(op)
    y = torch.randn(2, 30, generator=generator_from(5), dtype=torch.float64)
    found = fit(linear_generator(), op, y, phases=fading(1, 120), penalties=NONE)
    floor = (y - y @ torch.linalg.pinv(A).T @ A.T).square().mean(1)
    torch.testing.assert_close(found.history["data"][-1], floor, rtol=1e-6, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [0, 1])
def test_fixed_weights_are_latent_inversion(blocks):
    """m / (2 sigma^2 w) times the loss is the objective of map_z, up to the name of its weight."""
    op, sigma, u, w = sensing(8), 0.3, 0.5, 2.0
    y = measurements(op)
    phases = [replace(phase, data_weight=w) for phase in fading(blocks, 80, weight_rate=0.0)]
    found = fit(
        linear_generator(),
        op,
        y,
        sigma=sigma,
        tau=0.0,
        phases=phases,
        penalties=Penalties(features=0.0, latent=u),
    )
    exact = map_z(
        linear_generator(),
        op,
        y,
        sigma=sigma,
        latent_weight=u * 8 / (2 * sigma**2 * w * K),
        starts=Starts(first="prior"),
        optimiser=LBFGS(rtol=1e-14),
        generator=generator_from(3),
    )
    torch.testing.assert_close(found.z, exact.z, rtol=0, atol=1e-5)  # the last rate is 1e-4
    value = 2 * sigma**2 * w / 8 * exact.objective
    torch.testing.assert_close(found.history["loss"][-1], value, rtol=1e-9, atol=0)


# ------------------------------------------------------------------ against plain torch


def distance_by_hand(distance, op, y, x):
    """Sum over features of mean |D_i(S A x) - D_i(S y)|, by autograd through the operator."""
    grey = torch.full((1, *op.img_size), 0.5, dtype=torch.float64)
    features = [distance.discriminator.features(op.prox_l2(grey, v, 625.0)) for v in (op.A(x), y)]
    return sum((a - b).abs().mean() for a, b in zip(*features, strict=True))


def by_hand(gan, op, y, z, phases, feature_weight):
    """One image at a time: a copy of the model, autograd through everything, torch's Adam."""
    u = 0.02
    images = []
    for target, start in zip(y[:, None], z[:, None], strict=True):
        model, latent = copy.deepcopy(gan), start.clone().requires_grad_()
        distance = FeatureDistance(gan.discriminator, op, target)
        parts = [*model.generator.stages, model.generator.head]
        seen = op.A(torch.ones(op.img_size, dtype=torch.float64)).count_nonzero()
        weights = [list(part.parameters()) for part in parts]
        optimiser = Adam([{"params": group} for group in ([latent], *weights)])
        for phase in phases:
            for number, group in enumerate(optimiser.param_groups):
                group["lr"] = phase.weight_rate if number else phase.latent_rate
                for p in group["params"]:
                    p.requires_grad_(number <= phase.blocks)
            for _ in range(phase.n_steps):
                x = model.generator(latent)
                loss = phase.data_weight * (op.A(x) - target).square().sum() / seen
                loss = loss + feature_weight * distance_by_hand(distance, op, target, x)
                loss = loss + u / 2 * latent.square().mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        images.append(model.generator(latent).detach())
    return torch.cat(images)


@pytest.mark.slow
@pytest.mark.parametrize("feature_weight", [0.0, 0.7])
def test_one_batch_is_many_single_runs_of_plain_torch(op, feature_weight):
    gan, y = gan_for(op), measurements(op)
    z = torch.randn(3, K, generator=generator_from(2), dtype=torch.float64)
    found = fit(gan, op, y, z0=z, penalties=Penalties(feature_weight))
    expected = by_hand(gan, op, y, z, JOINT, feature_weight)
    # Adam divides gradients by their size, so rounding of 1e-16 enters relative to the smallest.
    torch.testing.assert_close(found.x, expected, rtol=0, atol=1e-8)
    assert (found.x - found.x_latent_only).abs().max() > 1e-3  # something has happened


@pytest.mark.slow
def test_an_image_does_not_depend_on_its_neighbours(op):
    gan, y = gan_for(op), measurements(op)

    def answer(y):
        found = fit(gan, op, y, z0=BestDraw(20))
        return torch.cat([found.x.flatten(1), found.z], 1)

    assert_batch_independent(answer, y, rtol=0, atol=1e-8)  # as above


# ------------------------------------------------------------------ the model itself


def snapshot(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_untouched(model, before):
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not any(part.training for part in model.modules())


def test_the_model_stays_as_it_was(op):
    gan = gan_for(op)
    before = snapshot(gan)
    fit(gan, op, measurements(op))
    assert_untouched(gan, before)


def test_the_model_survives_an_error(monkeypatch):
    op, gan = OPERATORS["inpainting"], tiny_gan()
    before, y, calls = snapshot(gan), measurements(op), []

    def fails_in_the_second_phase(x, v):
        calls.append(x)
        if len(calls) == 6:
            raise RuntimeError("the sensor is gone")
        return v

    monkeypatch.setattr(Inpainting, "_vjp", lambda self, x, v: fails_in_the_second_phase(x, v))
    with pytest.raises(RuntimeError, match="the sensor is gone"):
        fit(gan, op, y)
    assert_untouched(gan, before)


def test_which_blocks_learn_in_each_phase():
    op, gan = OPERATORS["inpainting"], tiny_gan()
    phases = [Phase(blocks, 2, 0.01, 0.01) for blocks in (0, 1, 3, 4)]
    # a linear layer or convolution and a normalisation, each with weights and biases; the head
    expected = {0: 0, 1: 4, 3: 12, 4: 14}
    for count in range(1, 5):
        weights = fit(gan, op, measurements(op), phases=phases[:count]).weights
        assert len(weights) == expected[phases[count - 1].blocks]
        trained = dict(gan.named_parameters())
        for name, value in weights.items():
            own = trained[name.removeprefix("network.")]
            assert value.shape == (3, *own.shape)
            assert (value != own).flatten(1).any(1).all()  # each image has moved its copy
            assert (value[0] != value[1]).any()


def test_blocks_may_be_chosen_and_held_again():
    """The head learns first; then all of it rests while the latent goes on."""
    op, gan = OPERATORS["inpainting"], tiny_gan()
    phases = [Phase(1, 3, 0.01, 0.01), Phase(0, 3, 0.01, 0.01)]
    y = measurements(op)
    runs = [
        fit(gan, op, y, phases=some, blocks=[gan.generator.head]) for some in (phases[:1], phases)
    ]
    before, after = (run.weights for run in runs)
    assert list(before) == ["network.generator.head.0.weight", "network.generator.head.0.bias"]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (runs[0].z != runs[1].z).all()


def test_weights_that_are_released_later_are_the_trained_ones_until_then():
    """A phase without steps releases weights and moves none."""
    op, gan = OPERATORS["inpainting"], tiny_gan()
    phases = [Phase(1, 3, 0.01, 0.01), Phase(4, 0, 0.01, 0.01)]
    found = fit(gan, op, measurements(op), phases=phases)
    trained = dict(gan.named_parameters())
    still = [
        (value == trained[name.removeprefix("network.")]).all()
        for name, value in found.weights.items()
        if "stages.0" not in name
    ]
    assert len(still) == 10
    assert all(still)


# ------------------------------------------------------------------ what comes out


def test_free_weights_fit_better(op):
    gan, y = gan_for(op), measurements(op)
    found = fit(gan, op, y)
    residual = (op.A(found.x_latent_only) - y).flatten(1).norm(dim=1)
    assert ((op.A(found.x) - y).flatten(1).norm(dim=1) < residual).all()


def test_history(op):
    gan, y = gan_for(op), measurements(op)
    found = fit(gan, op, y)
    assert found.status == "max_iter"
    assert found.iterations == 10
    assert {rows.shape for rows in found.history.values()} == {(11, 3)}
    assert found.history["phase"][:, 0].tolist() == [0] * 4 + [1] * 3 + [2] * 4
    seen = HOLE.sum() if isinstance(op, Inpainting) else y[0].numel()
    data = (op.A(found.x) - y).flatten(1).square().sum(1) / seen
    torch.testing.assert_close(found.history["data"][-1], data, rtol=1e-12, atol=0)
    features = 0.1 * FeatureDistance(gan.discriminator, op, y)(found.x)
    value = 10 * data + features + 0.01 * found.z.square().mean(1)
    torch.testing.assert_close(found.history["loss"][-1], value, rtol=1e-12, atol=0)


def test_every_column_is_that_of_the_steps():
    """A run that is cut off after k steps ends where row k of the whole run stands."""
    op, gan = OPERATORS["blur"], gan_for(OPERATORS["blur"])
    y, v, u = measurements(op), 0.7, 0.3
    options = {"penalties": Penalties(v, latent=u), "z0": gan.prior(3, generator=generator_from(2))}
    history = fit(gan, op, y, **options).history
    number = torch.tensor([0] * 4 + [1] * 3 + [2] * 4)
    done = [0, 4, 7]  # steps before each phase
    for k, p in enumerate(number.tolist()):
        cut = [*JOINT[:p], replace(JOINT[p], n_steps=k - done[p])]
        run = fit(gan, op, y, phases=cut, **options)
        data = (op.A(run.x) - y).flatten(1).square().mean(1)
        features = [
            distance_by_hand(FeatureDistance(gan.discriminator, op, y), op, *pair)
            for pair in zip(y.split(1), run.x.split(1), strict=True)
        ]
        loss = JOINT[p].data_weight * data + v * torch.stack(features)
        loss = loss + u / 2 * run.z.square().mean(1)
        torch.testing.assert_close(history["data"][k], data, rtol=1e-9, atol=0)
        torch.testing.assert_close(history["loss"][k], loss, rtol=1e-9, atol=0)
    assert torch.equal(history["phase"], number[:, None].expand(11, 3).float())


def test_the_start_is_the_best_of_the_draws(op):
    gan, y = gan_for(op), measurements(op)
    first = [Phase(0, 0, 0.0, 0.0, data_weight=5.0)]
    found = fit(gan, op, y, phases=first, z0=BestDraw(30, std=0.5))
    pool = 0.5 * gan.prior(30, generator=generator_from(1))
    losses = [fit(gan, op, y, phases=first, z0=z.expand(3, K)).history["loss"][0] for z in pool]
    torch.testing.assert_close(found.z, pool[torch.stack(losses).argmin(0)], rtol=0, atol=0)


def test_an_image_stops_at_the_noise_level():
    """The second image is drawn by the generator itself, the third only needs some steps."""
    gan, sigma = tiny_gan(), 0.05
    op = Inpainting(HOLE, GaussianNoise(sigma))
    z = torch.randn(3, K, generator=generator_from(2), dtype=torch.float64)
    x = gan.sample(3, generator=generator_from(3)).detach()
    x[0] = torch.rand(1, 16, 16, generator=generator_from(4), dtype=torch.float64)
    x[1] = gan.decode(z[1:2]).mean.detach()
    phases = [Phase(0, 100, 0.05, 0.0), Phase(4, 20, 0.01, 1e-3)]
    y = op(x, generator=generator_from(5))
    found = fit(gan, op, y, phases=phases, tau=1.5, z0=z, penalties=NONE)
    data = found.history["data"]
    met = data <= 1.5 * sigma**2
    first = met.int().argmax(0)
    assert not met[:, 0].any()
    assert first[1] == 0
    assert 0 < first[2] < 100
    assert torch.equal(found.z[1], z[1])
    torch.testing.assert_close(found.x[1], x[1], rtol=0, atol=1e-14)  # the same, by another kernel
    still = data[first[2] :, 2]
    torch.testing.assert_close(still, data[first[2], 2].expand_as(still), rtol=1e-12, atol=0)
    assert found.history["phase"][-1].tolist() == [1, 0, 0]
    for name, value in found.weights.items():
        assert torch.equal(value[1], gan.get_parameter(name.removeprefix("network.")))
    assert found.status == "max_iter"


def test_when_all_have_stopped_nothing_runs():
    gan = tiny_gan()
    op = Denoising((1, 16, 16), GaussianNoise(0.05))
    z = torch.randn(2, K, generator=generator_from(2), dtype=torch.float64)
    y = op(gan.decode(z).mean.detach(), generator=generator_from(5))
    found = fit(gan, op, y, phases=PHASES, tau=1.5, z0=z)
    assert found.status == "converged"
    assert found.iterations == 0
    assert torch.equal(found.x, found.x_latent_only)


def test_a_decoder_without_discriminator():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = compact_vae(
            channels=(4,), latent_dim=K, width=6, blocks=1, tail=3, img_size=(1, 8, 8)
        )
    vae = vae.double().eval()
    op = Downsampling((1, 8, 8), 2)
    phases = [Phase(0, 10, 0.05, 0.0), Phase(2, 10, 0.01, 0.01), Phase(3, 10, 0.01, 0.01)]
    found = fit(vae, op, measurements(op), phases=phases, penalties=Penalties(features=0.0))
    rows = found.history["data"]
    assert (rows[-1] < rows[20]).all()
    assert (rows[20] < rows[10]).all()
    decoder = {name for name, _ in vae.named_parameters() if name.startswith("decoder.")}
    assert {name.removeprefix("network.") for name in found.weights} == decoder


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"y": torch.zeros(3, 1, 15, 16).double()}, r"expected y of shape \(B, 1, 16, 16\)"),
        ({"y": torch.full((3, 1, 16, 16), torch.nan).double()}, "768 values that are NaN"),
        ({"model": tiny_gan().train()}, "GAN is in training mode"),
        (
            {"op": Denoising((1, 8, 8)), "y": torch.zeros(3, 1, 8, 8).double(), "penalties": NONE},
            r"draws images of \(1, 16, 16\).* measures images of \(1, 8, 8\)",
        ),
        (
            {"model": linear_generator(), "op": sensing(8), "y": torch.zeros(3, 8).double()},
            r"Pushforward has no discriminator.*Use Penalties\(features=0\)",
        ),
        (
            {"model": Pushforward(lambda z: z[:, :, None, None], (K,)), "penalties": NONE},
            r"expected a torch module.*map_z takes any map",
        ),
        ({"penalties": Penalties(n_features=4)}, r"has 3 features; expected n_features .* got 4"),
        ({"z0": torch.zeros(2, K).double()}, "expected a z0 for each of 3 measurements, got 2"),
        ({"blocks": [tiny_gan().generator.head]}, "blocks must be parts of this GAN"),
        ({"sigma": -0.1}, "sigma must be a finite number >= 0, got -0.1"),
    ],
)
def test_bad_input(options, message):
    op = OPERATORS["inpainting"]
    arguments = {"model": tiny_gan(), "op": op, "y": measurements(op)} | options
    with pytest.raises(ValueError, match=message):
        fit(**arguments)


def test_bad_types():
    op = PhaseRetrieval(300, (1, 16, 16), generator_from(7), dtype=torch.float64)
    with pytest.raises(TypeError, match=r"PhaseRetrieval is not linear.*Penalties\(features=0\)"):
        fit(tiny_gan(), op, torch.rand(2, 300).double())
    op = OPERATORS["inpainting"]
    with pytest.raises(TypeError, match=r"deep_generative_prior: expected a torch.Generator"):
        deep_generative_prior(tiny_gan(), op, measurements(op))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Progression([]), "at least one phase, got 0"),
        (lambda: Progression(tau=-1.0), "Progression: tau must be a finite number >= 0, got -1"),
        (lambda: BestDraw(0), "at least one draw, got 0"),
        (lambda: BestDraw(std=float("inf")), "BestDraw: std must be a finite number >= 0"),
        (lambda: Phase(1, 1, 0.1, -1.0), "Phase: weight_rate must be a finite number >= 0, got -1"),
        (lambda: Phase(-1, 1, 0.1, 1.0), "Phase: blocks must be a finite number >= 0, got -1"),
        (lambda: Penalties(float("nan")), "Penalties: features must be a finite number >= 0"),
        (lambda: Penalties(latent=-1.0), "Penalties: latent must be a finite number >= 0, got -1"),
    ],
)
def test_options_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
