"""Latent and weights fitted together: linear generators, and what plain torch does image by image.

Everything is in float64, on images of 16 x 16 pixels or less.
"""

import copy

import pytest
import torch
from torch import nn
from torch.optim import Adam

from course_lib.inference.latent.deep_generative_prior import (
    FeatureDistance,
    Phase,
    deep_generative_prior,
)
from course_lib.inference.latent.map_latent import Pushforward, map_z
from course_lib.models import GAN, compact_vae
from course_lib.operators import (
    Blur,
    CompressedSensing,
    Denoising,
    Downsampling,
    GaussianNoise,
    Inpainting,
    Luminance,
    PhaseRetrieval,
    bicubic_kernel,
    gaussian_kernel,
    wrap_kernel,
)
from course_lib.rng import generator_from

IMG, N, K = (1, 4, 5), 20, 3  # an image of the linear generator, its pixels, its latents
HOLE = torch.ones(1, 16, 16, dtype=torch.bool)
HOLE[:, 5:11, 4:12] = False
BICUBIC = wrap_kernel(bicubic_kernel(4, torch.float64), (16, 16))
OPERATORS = {
    "inpainting": Inpainting(HOLE),
    "super-resolution": Downsampling((1, 16, 16), 4, BICUBIC),
    "blur": Blur(gaussian_kernel(std=1.0, size=5, dtype=torch.float64), (1, 16, 16)),
    "colourisation": Luminance((3, 16, 16)),
}
JOINT = (Phase(0, 4, 0.05, 0.0), Phase(2, 3, 0.02, 0.002, 3.0), Phase(4, 3, 0.01, 0.001, 10.0))


@pytest.fixture(params=OPERATORS)
def op(request):
    return OPERATORS[request.param]


def tiny_gan(channels=1):
    """Four blocks: stages at 4, 8 and 16 pixels, and a head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        gan = GAN(latent_dim=K, channels=(6, 5, 4), critic_channels=(4, 5), image_channels=channels)
    for layer in gan.modules():
        if isinstance(layer, nn.BatchNorm2d):  # as if training had seen something
            layer.running_var.fill_(0.1)
    return gan.double().eval()


def gan_for(op):
    return tiny_gan(op.img_size[0])


def measurements(op, n=3):
    x = torch.rand(n, *op.img_size, generator=generator_from(5), dtype=torch.float64)
    return op(x, generator=generator_from(6))


def linear_generator():
    network = nn.Sequential(nn.Linear(K, N, bias=False), nn.Unflatten(1, IMG)).double().eval()
    matrix = torch.randn(N, K, generator=generator_from(0), dtype=torch.float64)
    network.requires_grad_(False)[0].weight.copy_(matrix)
    return Pushforward(network, (K,))


def dense(op):
    return op.A(torch.eye(N, dtype=torch.float64).view(N, *IMG)).flatten(1).T


def fading(blocks, steps, weight_rate=1.0, rates=(1e-1, 1e-2, 1e-3, 1e-4)):
    """Adam never rests at a fixed rate; each of these phases ends ten times nearer."""
    return [Phase(blocks, steps, rate, weight_rate * rate) for rate in rates]


# ------------------------------------------------------------------ linear generators


def sensing(m):
    return CompressedSensing(m, IMG, generator_from(4), dtype=torch.float64)


def test_free_weights_meet_any_data_that_the_operator_can_give():
    """Theta z reaches every image once z is not 0; W z only those in the range of W."""
    op = sensing(8)
    y = torch.randn(3, 8, generator=generator_from(5), dtype=torch.float64)
    options = {"feature_weight": 0, "latent_weight": 0, "generator": generator_from(1)}
    phases = [*fading(0, 80), *fading(1, 80)]
    found = deep_generative_prior(linear_generator(), op, y, phases=phases, **options)
    # Adam rests within its last rate, 1e-4; A, Theta and z are of order one.
    assert (op.A(found.x) - y).abs().max() <= 1e-4

    AW = dense(op) @ linear_generator().network[0].weight
    floor = (y - y @ torch.linalg.pinv(AW).T @ AW.T).square().mean(1)
    latent_only = (op.A(found.x_latent_only) - y).square().mean(1)
    torch.testing.assert_close(latent_only, floor, rtol=1e-6, atol=0)  # error enters squared
    assert (floor > 0.01).all()


def test_what_no_image_explains_is_left():
    """30 measurements of 20 pixels: the residual is the part of y outside the range of A."""
    op = sensing(30)
    A = dense(op)
    y = torch.randn(2, 30, generator=generator_from(5), dtype=torch.float64)
    found = deep_generative_prior(
        linear_generator(),
        op,
        y,
        phases=fading(1, 120),
        feature_weight=0,
        latent_weight=0,
        generator=generator_from(1),
    )
    floor = (y - y @ torch.linalg.pinv(A).T @ A.T).square().mean(1)
    torch.testing.assert_close(found.history["data"][-1], floor, rtol=1e-6, atol=0)


@pytest.mark.parametrize("blocks", [0, 1])
def test_fixed_weights_are_latent_inversion(blocks):
    """m / (2 sigma^2 w) times the loss is the objective of map_z, up to the name of its weight."""
    op, sigma, u, w = sensing(8), 0.3, 0.5, 2.0
    y = measurements(op)
    phases = [phase._replace(data_weight=w) for phase in fading(blocks, 80, weight_rate=0.0)]
    found = deep_generative_prior(
        linear_generator(),
        op,
        y,
        sigma=sigma,
        tau=0,
        phases=phases,
        feature_weight=0,
        latent_weight=u,
        generator=generator_from(1),
    )
    exact = map_z(
        linear_generator(),
        op,
        y,
        sigma=sigma,
        latent_weight=u * 8 / (2 * sigma**2 * w * K),
        init="prior",
        rtol=1e-14,
        generator=generator_from(3),
    )
    torch.testing.assert_close(found.z, exact.z, rtol=0, atol=1e-5)  # the last rate is 1e-4
    value = 2 * sigma**2 * w / 8 * exact.objective
    torch.testing.assert_close(found.history["loss"][-1], value, rtol=1e-9, atol=0)


# ------------------------------------------------------------------ against plain torch


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
            for _ in range(phase.steps):
                x = model.generator(latent)
                loss = phase.data_weight * (op.A(x) - target).square().sum() / seen
                loss = loss + feature_weight * distance._distance(distance._image(op.A(x))).sum()
                loss = loss + u / 2 * latent.square().mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        images.append(model.generator(latent).detach())
    return torch.cat(images)


@pytest.mark.parametrize("feature_weight", [0.0, 0.7])
def test_one_batch_is_many_single_runs_of_plain_torch(op, feature_weight):
    gan, y = gan_for(op), measurements(op)
    z = torch.randn(3, K, generator=generator_from(2), dtype=torch.float64)
    found = deep_generative_prior(gan, op, y, phases=JOINT, z_init=z, feature_weight=feature_weight)
    expected = by_hand(gan, op, y, z, JOINT, feature_weight)
    # Adam divides gradients by their size, so rounding of 1e-16 enters relative to the smallest.
    torch.testing.assert_close(found.x, expected, rtol=0, atol=1e-8)
    assert (found.x - found.x_latent_only).abs().max() > 1e-3  # something has happened


def test_an_image_does_not_depend_on_its_neighbours(op):
    gan, y = gan_for(op), measurements(op)
    options = {"phases": JOINT, "draws": 20}
    batch = deep_generative_prior(gan, op, y, generator=generator_from(1), **options)
    single = deep_generative_prior(gan, op, y[1:2], generator=generator_from(1), **options)
    torch.testing.assert_close(batch.x[1:2], single.x, rtol=0, atol=1e-8)  # as above
    torch.testing.assert_close(batch.z[1:2], single.z, rtol=0, atol=1e-8)


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
    deep_generative_prior(gan, op, measurements(op), phases=JOINT, generator=generator_from(1))
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
        deep_generative_prior(gan, op, y, phases=JOINT, generator=generator_from(1))
    assert_untouched(gan, before)


def test_which_blocks_learn_in_each_phase():
    op, gan = OPERATORS["inpainting"], tiny_gan()
    phases = [Phase(blocks, 2, 0.01, 0.01) for blocks in (0, 1, 3, 4)]
    # a linear layer or convolution and a normalisation, each with weights and biases; the head
    expected = {0: 0, 1: 4, 3: 12, 4: 14}
    for count in range(1, 5):
        weights = deep_generative_prior(
            gan,
            op,
            measurements(op),
            phases=phases[:count],
            keep_weights=True,
            generator=generator_from(1),
        ).weights
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
    options = {"blocks": [gan.generator.head], "keep_weights": True}
    phases = [Phase(1, 3, 0.01, 0.01), Phase(0, 3, 0.01, 0.01)]
    y = measurements(op)
    runs = [
        deep_generative_prior(gan, op, y, phases=some, generator=generator_from(1), **options)
        for some in (phases[:1], phases)
    ]
    before, after = (run.weights for run in runs)
    assert list(before) == ["network.generator.head.0.weight", "network.generator.head.0.bias"]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (runs[0].z != runs[1].z).all()


def test_weights_that_are_released_later_are_the_trained_ones_until_then():
    """A phase without steps releases weights and moves none."""
    op, gan = OPERATORS["inpainting"], tiny_gan()
    phases = [Phase(1, 3, 0.01, 0.01), Phase(4, 0, 0.01, 0.01)]
    found = deep_generative_prior(
        gan, op, measurements(op), phases=phases, keep_weights=True, generator=generator_from(1)
    )
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
    found = deep_generative_prior(gan, op, y, phases=JOINT, generator=generator_from(1))
    residual = (op.A(found.x_latent_only) - y).flatten(1).norm(dim=1)
    assert ((op.A(found.x) - y).flatten(1).norm(dim=1) < residual).all()
    assert found.weights is None


def test_history(op):
    gan, y = gan_for(op), measurements(op)
    found = deep_generative_prior(gan, op, y, phases=JOINT, generator=generator_from(1))
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


def test_the_start_is_the_best_of_the_draws(op):
    gan, y = gan_for(op), measurements(op)
    first = [Phase(0, 0, 0.0, 0.0, data_weight=5.0)]
    found = deep_generative_prior(
        gan, op, y, phases=first, draws=30, std=0.5, generator=generator_from(1)
    )
    pool = 0.5 * gan.prior(30, generator=generator_from(1))
    losses = [
        deep_generative_prior(gan, op, y, phases=first, z_init=z.expand(3, K)).history["loss"][0]
        for z in pool
    ]
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
    found = deep_generative_prior(
        gan,
        op,
        op(x, generator=generator_from(5)),
        phases=phases,
        tau=1.5,
        z_init=z,
        feature_weight=0,
        latent_weight=0,
        keep_weights=True,
    )
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
    found = deep_generative_prior(gan, op, y, tau=1.5, z_init=z)
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
    found = deep_generative_prior(
        vae,
        op,
        measurements(op),
        phases=[Phase(0, 10, 0.05, 0.0), Phase(2, 10, 0.01, 0.01), Phase(3, 10, 0.01, 0.01)],
        feature_weight=0,
        keep_weights=True,
        generator=generator_from(1),
    )
    rows = found.history["data"]
    assert (rows[-1] < rows[20]).all()
    assert (rows[20] < rows[10]).all()
    decoder = {name for name, _ in vae.named_parameters() if name.startswith("decoder.")}
    assert {name.removeprefix("network.") for name in found.weights} == decoder


# ------------------------------------------------------------------ the distance of features


def test_features_agree_where_the_measurements_do(op):
    """Also where the images differ: a part that A does not see changes nothing."""
    x = torch.rand(2, *op.img_size, generator=generator_from(7), dtype=torch.float64)
    distance = FeatureDistance(gan_for(op).discriminator, op, op.A(x))
    assert (distance(x) == 0).all()
    other = torch.rand(x.shape, generator=generator_from(8), dtype=torch.float64)
    unseen = other - op.A_dagger(op.A(other))
    assert (distance(x + unseen) <= 1e-12).all()  # A unseen is rounding
    assert (distance(other) > 1e-3).all()


def test_gradient_of_the_features_against_finite_differences(op):
    y = measurements(op, 2)
    distance = FeatureDistance(gan_for(op).discriminator, op, y, sigma=0.05)
    x = torch.rand(2, *op.img_size, generator=generator_from(7), dtype=torch.float64)
    value, grad = distance.value_and_grad(x)
    step = torch.randn(x.shape, generator=generator_from(8), dtype=torch.float64)
    h = 1e-7
    slope = (distance(x + h * step) - distance(x - h * step)) / (2 * h)
    # piecewise linear but for kinks, of which a step of 1e-7 meets few; 1e-16 / h is 1e-9
    torch.testing.assert_close((grad * step).flatten(1).sum(1), slope, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(value, distance(x), rtol=1e-14, atol=0)


def test_table_of_distances(op):
    y = measurements(op)
    distance = FeatureDistance(gan_for(op).discriminator, op, y)
    x = torch.rand(3, *op.img_size, generator=generator_from(7), dtype=torch.float64)
    with torch.no_grad():
        table = distance.table(x)
    torch.testing.assert_close(table.diagonal(), distance(x), rtol=1e-12, atol=0)


# ------------------------------------------------------------------ bad input


def refused(message, error=ValueError):
    return pytest.raises(error, match=message)


def test_bad_input():
    op, gan = OPERATORS["inpainting"], tiny_gan()
    y = measurements(op)

    def solve(model=gan, op=op, y=y, **options):
        return deep_generative_prior(model, op, y, generator=generator_from(0), **options)

    with refused(r"expected y of shape \(B, 1, 16, 16\)"):
        solve(y=y[:, :, 1:])
    with refused("1 values that are NaN"):
        bad = y.clone()
        bad[0, 0, 0, 0] = torch.nan
        solve(y=bad)
    with refused("GAN is in training mode"):
        solve(model=tiny_gan().train())
    with refused(r"draws images of \(1, 16, 16\).* measures images of \(1, 8, 8\)"):
        solve(op=Denoising((1, 8, 8)), y=y[..., :8, :8], feature_weight=0)
    with refused("Pushforward has no discriminator.*Use feature_weight=0"):
        solve(model=linear_generator(), op=sensing(8), y=y[:, 0, 0, :8])
    with refused("expected a torch module.*map_z takes any map"):
        solve(model=Pushforward(lambda z: z[:, :, None, None], (K,)), feature_weight=0)
    with refused(r"PhaseRetrieval is not linear.*Use feature_weight=0", TypeError):
        retrieval = PhaseRetrieval(300, (1, 16, 16), generator_from(7), dtype=torch.float64)
        solve(op=retrieval, y=torch.rand(2, 300).double())
    with refused("this discriminator has 3 features; expected n_features from 1 to that, got 4"):
        solve(n_features=4)
    with refused("expected a z_init for each of 3 measurements, got 2"):
        solve(z_init=torch.zeros(2, K).double())
    with refused("at least one phase and one draw, got 0"):
        solve(phases=[])
    with refused("at least one phase and one draw, got 4 and 0"):
        solve(draws=0)
    with refused("blocks must be parts of this GAN"):
        solve(blocks=[tiny_gan().generator.head])
    with refused("weight_rate must be a finite number >= 0, got -1"):
        solve(phases=[Phase(1, 1, 0.1, -1.0)])
    with refused("feature_weight must be a finite number >= 0, got nan"):
        solve(feature_weight=float("nan"))
    with refused("sigma must be a finite number >= 0, got -0.1"):
        solve(sigma=-0.1)
