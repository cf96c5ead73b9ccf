"""A file with the published names loads, and the model computes what the published formulas say.

The names and formulas here are written from the released code's, without our classes: they are the
reference.
"""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, gelu, interpolate

from course_lib.models.published.vdvae import PUBLISHED, PublishedVDVAE, load_vdvae
from course_lib.project import CourseError
from course_lib.rng import generator_from

TINY = PublishedVDVAE(
    file="tiny-model-ema.th",
    millions=0.02,
    enc_blocks="8x1,8d2,4x1,4d4,1x1",
    dec_blocks="1x2,4m1,8m4,8x1",
    side=8,
    width=8,
    mean=112.9,
    std=69.8,
    widths={8: 8, 4: 12, 1: 16},
    n_mixtures=2,
)
ENCODER = [(8, None), (8, 2), (4, None), (4, 4), (1, None)]  # (side, rate of averaging after)
DECODER = [(1, None), (1, None), (4, 1), (8, 4), (8, None)]  # (side, coarser side mixed in before)
WIDTH = {8: 8, 4: 12, 1: 16}
LATENTS = 16


def published_state() -> dict[str, Tensor]:
    """Random weights under the published names."""
    generator = generator_from(0)
    state = {}

    def layer(name: str, inputs: int, outputs: int, size: int) -> None:
        scale = (inputs * size**2) ** -0.5
        weight = torch.randn(outputs, inputs, size, size, generator=generator)
        state[f"{name}.weight"] = scale * weight
        state[f"{name}.bias"] = 0.1 * torch.randn(outputs, generator=generator)

    def block(name: str, inputs: int, middle: int, outputs: int, side: int) -> None:
        size = 3 if side > 2 else 1
        layer(f"{name}.c1", inputs, middle, 1)
        layer(f"{name}.c2", middle, middle, size)
        layer(f"{name}.c3", middle, middle, size)
        layer(f"{name}.c4", middle, outputs, 1)

    layer("encoder.in_conv", 3, 8, 3)
    for i, (side, _) in enumerate(ENCODER):
        block(f"encoder.enc_blocks.{i}", WIDTH[side], WIDTH[side] // 4, WIDTH[side], side)
    for i, (side, _) in enumerate(DECODER):
        width, name = WIDTH[side], f"decoder.dec_blocks.{i}"
        block(f"{name}.enc", 2 * width, width // 4, 2 * LATENTS, side)
        block(f"{name}.prior", width, width // 4, 2 * LATENTS + width, side)
        layer(f"{name}.z_proj", LATENTS, width, 1)
        block(f"{name}.resnet", width, width // 4, width, side)
    for i, side in enumerate((1, 4, 8)):
        bias = torch.randn(1, WIDTH[side], side, side, generator=generator)
        state[f"decoder.bias_xs.{i}"] = bias
    state["decoder.gain"] = torch.rand(1, 8, 1, 1, generator=generator)
    state["decoder.bias"] = torch.rand(1, 8, 1, 1, generator=generator)
    layer("decoder.out_net.out_conv", 8, 2 * (1 + 3 * 3), 1)
    return state


def run_published(state: dict[str, Tensor], levels: Tensor) -> tuple[Tensor, Tensor]:
    """Output of the last layer and KL by group, with z = the posterior means, for levels 0-255."""

    def conv(name: str, x: Tensor) -> Tensor:
        weight = state[f"{name}.weight"]
        return conv2d(x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def block(name: str, x: Tensor) -> Tensor:
        for part in ("c1", "c2", "c3", "c4"):
            x = conv(f"{name}.{part}", gelu(x))
        return x

    x = conv("encoder.in_conv", (levels - TINY.mean) / TINY.std)
    features = {8: x}
    for i, (_, rate) in enumerate(ENCODER):
        x = x + block(f"encoder.enc_blocks.{i}", x)
        if rate is not None:
            x = avg_pool2d(x, rate)
            more = WIDTH[x.shape[-1]] - x.shape[1]
            x = torch.cat([x, x.new_zeros(len(x), more, *x.shape[-2:])], dim=1)
        features[x.shape[-1]] = x
    maps = {side: state[f"decoder.bias_xs.{i}"] for i, side in enumerate((1, 4, 8))}
    costs = []
    for i, (side, mixin) in enumerate(DECODER):
        name = f"decoder.dec_blocks.{i}"
        x = maps[side].expand(len(levels), -1, -1, -1)
        if mixin is not None:
            x = x + interpolate(maps[mixin][:, : x.shape[1]], scale_factor=side // mixin)
        q_mean, q_log = block(f"{name}.enc", torch.cat([x, features[side]], dim=1)).chunk(2, 1)
        prior = block(f"{name}.prior", x)
        p_mean, p_log = prior[:, :LATENTS], prior[:, LATENTS : 2 * LATENTS]
        variances = q_log.exp() ** 2 + (q_mean - p_mean) ** 2
        kl = -0.5 + p_log - q_log + 0.5 * variances / p_log.exp() ** 2
        costs.append(kl.sum((1, 2, 3)))
        x = x + prior[:, 2 * LATENTS :] + conv(f"{name}.z_proj", q_mean)
        maps[side] = x + block(f"{name}.resnet", x)
    last = maps[8] * state["decoder.gain"] + state["decoder.bias"]
    return conv("decoder.out_net.out_conv", last), torch.stack(costs, 1)


@pytest.fixture
def published(tmp_path):
    """A file as parallel training leaves it."""
    state = published_state()
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / TINY.file)
    return state, tmp_path / TINY.file


def test_names_and_values(published):
    state, path = published
    model = load_vdvae(path, TINY)
    own = model.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[name], state[name]) for name in state)
    assert not model.training


def test_computes_what_was_published(published):
    """Features, posteriors, priors and the last layer agree, for z = the posterior means."""
    state, path = published
    model = load_vdvae(path, TINY).double()
    state = {name: value.double() for name, value in state.items()}
    levels = torch.randint(0, 256, (2, 3, 8, 8), generator=generator_from(1)).double()
    expected, expected_costs = run_published(state, levels)
    features, costs = model.features(levels / 255), []

    def draw(index, maps, prior):
        group = model.decoder.dec_blocks[index]
        q = group.posterior(maps, features[group.side], prior)
        costs.append(torch.distributions.kl_divergence(q, prior).sum((1, 2, 3)))
        return q.mean

    seen = []
    model.decoder.out_net.out_conv.register_forward_hook(lambda m, a, out: seen.append(out))
    model.decoder.emit(model.decoder.descend(draw, 2))
    # The same float64 arithmetic in another order: some 40 convolutions of at most 144 terms.
    torch.testing.assert_close(seen[0], expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(torch.stack(costs, 1), expected_costs, rtol=1e-10, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "ffhq1024"])
def test_number_of_parameters(name):
    """As published: 39, 119, 125 and 115 millions. (On "meta" nothing is allocated.)"""
    with torch.device("meta"):
        model = PUBLISHED[name].build()
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    assert round(millions) == PUBLISHED[name].millions


@pytest.mark.slow
def test_hierarchy_of_faces():
    """66 groups, of which 21, 43 and 57 lie on maps of up to 16, 32 and 64 pixels."""
    with torch.device("meta"):
        model = PUBLISHED["ffhq256"].build()
    assert len(model.sides) == 66
    assert [model.groups_up_to(side) for side in (16, 32, 64)] == [21, 43, 57]
    assert sum(16 * side**2 for side in model.sides) == 4_470_816


def test_bad_files(published, tmp_path):
    state, path = published
    with pytest.raises(CourseError, match=r"No published VDVAE 'mnist'. There are: cifar10"):
        load_vdvae(path, "mnist")
    with pytest.raises(CourseError, match=r"ffhq256-iter-1700000-model-ema.th \(about 460 MB\)"):
        load_vdvae(tmp_path / "nothing.th", "ffhq256")
    del state["decoder.gain"]
    state["decoder.bias_xs.3"] = torch.zeros(1, 8, 16, 16)
    torch.save(state, path)
    with pytest.raises(
        CourseError, match=r"1 missing: decoder.gain; 1 unexpected: decoder.bias_xs"
    ):
        load_vdvae(path, TINY)
