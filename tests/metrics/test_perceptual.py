"""LPIPS against given values, against its authors' package, and against its formula."""

import numpy as np
import pytest
import skimage.data
import torch
from safetensors.torch import save_file
from torch.nn.functional import avg_pool2d, interpolate

from course_lib.metrics import fetched, lpips, perceptual, random_feature_distance, vgg_features
from course_lib.metrics.feature_networks import ARCHITECTURES, random_weights
from course_lib.metrics.fetched import WEIGHTS, weights_path
from course_lib.operators.torchvision_shim import make_torchvision_importable
from course_lib.project import CourseError

NETS = sorted(ARCHITECTURES)
needs_weights = pytest.mark.skipif(
    not all(weights_path(net).is_file() for net in NETS),
    reason="the weights are not there: course fetch perceptual",
)
# Image of scikit-image -> (net -> value) for the image mirrored, and for means of 4 x 4 blocks:
# measured once with these weights in the network of the package of the authors of LPIPS.
KNOWN = {
    "astronaut": ({"alex": 0.630551, "vgg": 0.717163}, {"alex": 0.388430, "vgg": 0.467437}),
    "chelsea": ({"alex": 0.582699, "vgg": 0.607960}, {"alex": 0.521602, "vgg": 0.539748}),
    "camera": ({"alex": 0.645141, "vgg": 0.646375}, {"alex": 0.396866, "vgg": 0.498768}),
    "coins": ({"alex": 0.333723, "vgg": 0.442131}, {"alex": 0.237775, "vgg": 0.356475}),
}
PLACES = {
    "astronaut": np.s_[:256, :256],
    "chelsea": np.s_[:256, :256],
    "camera": np.s_[128:384, 128:384],
    "coins": np.s_[:64, :64],
}


def picture(name):
    image = torch.tensor(getattr(skimage.data, name)()[PLACES[name]]).float() / 255
    return image.expand(1, 1, -1, -1) if image.ndim == 2 else image.movedim(-1, 0)[None]


def mirrored(x):
    return x.flip(-1)


def blocks(x):
    return interpolate(avg_pool2d(x, 4), scale_factor=4)


def pair(generator, channels=3, size=(37, 45), batch=2):
    truth = torch.rand(batch, channels, *size, generator=generator, dtype=torch.float64)
    return truth + 0.1 * torch.randn(truth.shape, generator=generator).double(), truth


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Random weights in the place of the fetched ones."""
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path))
    for net in NETS:
        path = weights_path(net)
        path.parent.mkdir(exist_ok=True)
        save_file(random_weights(net, 1, torch.empty(0)), path)
        monkeypatch.setitem(fetched.DIGESTS, WEIGHTS[net], fetched.content_digest(path))


@needs_weights
@pytest.mark.slow
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", KNOWN)
def test_the_given_values(name, net):
    x = picture(name)
    for change, known in zip((mirrored, blocks), KNOWN[name], strict=True):
        # Six digits are given; convolutions in single precision differ by 1e-6 between machines.
        assert lpips(change(x), x, net=net).item() == pytest.approx(known[net], abs=1e-5)


@pytest.mark.slow
@needs_weights
@pytest.mark.filterwarnings("ignore")  # the package's calls of torchvision are of an older form
@pytest.mark.parametrize("net", NETS)
def test_the_linear_layers_and_the_formula_are_those_of_the_authors_package(net):
    """Their network with our convolutions; their own linear layers, which must equal ours."""
    make_torchvision_importable()
    package = pytest.importorskip("lpips", exc_type=ImportError)
    with torch.random.fork_rng(devices=[]):
        theirs = package.LPIPS(net=net, pnet_rand=True, verbose=False)
    weights = perceptual._published(net, "test", torch.empty(0))
    convolutions = [m for m in theirs.net.modules() if isinstance(m, torch.nn.Conv2d)]
    layers = ARCHITECTURES[net].layers
    for ours, conv in zip(layers, convolutions, strict=True):
        conv.weight.data, conv.bias.data = (weights[f"{ours.name}.{k}"] for k in ("weight", "bias"))
        assert (conv.stride[0], conv.padding[0]) == (ours.stride, ours.padding)
    for name, linear in zip(ARCHITECTURES[net].compared, theirs.lins, strict=True):
        assert torch.equal(linear.model[-1].weight.flatten(), weights[f"{name}.linear"])
    x = picture("coins")
    expected = theirs(2 * mirrored(x).repeat(1, 3, 1, 1) - 1, 2 * x.repeat(1, 3, 1, 1) - 1)
    # Single precision: the package scales [-1, 1] where we scale [0, 1].
    assert lpips(mirrored(x), x, net=net).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_formula(net, channels, generator, made):
    """Pixel by pixel."""
    estimate, truth = pair(generator, channels)
    found = lpips(estimate, truth, net=net)
    weights = random_weights(net, 1, torch.empty(0, dtype=torch.float64))
    compared = ARCHITECTURES[net].compared
    f, g = (perceptual.features(net, weights, u, compared) for u in (estimate, truth))
    for i in range(2):
        expected = 0.0
        for name in compared:
            a, b, w = f[name][i].numpy(), g[name][i].numpy(), weights[f"{name}.linear"].numpy()
            for r, c in np.ndindex(*a.shape[1:]):
                x, y = a[:, r, c], b[:, r, c]
                x, y = x / (np.sqrt(x @ x) + 1e-10), y / (np.sqrt(y @ y) + 1e-10)
                expected += w @ (x - y) ** 2 / a[0].size
        # Convolutions round in another order for another batch: 1e3 sums of eps = 2e-16.
        assert found[i].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("distance", [lpips, random_feature_distance], ids=["lpips", "random"])
@pytest.mark.parametrize("net", NETS)
def test_identities(distance, net, generator, made):
    estimate, truth = pair(generator)
    d = distance(estimate, truth, net=net)
    assert d.shape == (2,)
    assert (d > 0).all()
    assert torch.equal(distance(truth, truth, net=net), torch.zeros(2).double())
    assert torch.allclose(d, distance(truth, estimate, net=net), rtol=1e-12)
    for i in range(2):  # an image does not depend on the others of its batch
        alone = distance(estimate[i : i + 1], truth[i : i + 1], net=net)
        assert torch.allclose(alone[0], d[i], rtol=1e-12)
    shared = distance(estimate, truth[:1], net=net)
    assert torch.allclose(shared[0], d[0], rtol=1e-12)
    single = distance(estimate.float(), truth.float(), net=net)
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), d, rtol=1e-4)  # 13 convolutions of up to 4608 terms


@pytest.mark.parametrize("net", NETS)
def test_grey_is_colour_with_equal_channels(net, generator):
    estimate, truth = pair(generator, channels=1)
    grey = random_feature_distance(estimate, truth, net=net)
    colour = random_feature_distance(estimate.repeat(1, 3, 1, 1), truth.repeat(1, 3, 1, 1), net=net)
    assert torch.equal(grey, colour)


@pytest.mark.parametrize("net", NETS)
def test_gradients_reach_the_image_and_not_the_network(net, generator, made):
    estimate, truth = pair(generator, batch=1)
    estimate.requires_grad_()
    (slope,) = torch.autograd.grad(lpips(estimate, truth, net=net).sum(), estimate)
    direction = torch.randn(truth.shape, generator=generator).double()
    step = 1e-6
    with torch.no_grad():
        ahead, behind = (lpips(estimate + s * direction, truth, net=net) for s in (step, -step))
    # Central differences: step² f''' and eps / step, both near 1e-10; kinks of ReLU add to them.
    expected = (slope * direction).sum().item()
    assert ((ahead - behind) / (2 * step)).item() == pytest.approx(expected, rel=1e-4)
    assert not any(w.requires_grad for w in perceptual._published(net, "", truth).values())


def test_a_batch_in_several_pieces(generator):
    estimate, truth = pair(generator, channels=1, size=(31, 31), batch=2 * perceptual.PIECE + 1)
    for shared in (truth, truth[:1]):
        found = random_feature_distance(estimate, shared)
        alone = [
            random_feature_distance(estimate[i : i + 1], shared[i % len(shared)][None])
            for i in range(len(estimate))
        ]
        assert torch.allclose(found, torch.cat(alone), rtol=1e-12)


def test_a_position_without_features_has_a_finite_gradient():
    """Where every ReLU is zero, the length of the feature has no derivative of its own."""
    f = torch.zeros(1, 4, 2, 2, requires_grad=True)
    perceptual._unit_length(f).sum().backward()
    assert f.grad.isfinite().all()


def test_the_random_weights_are_fixed_and_the_global_state_is_left_alone(generator):
    estimate, truth = pair(generator)
    values = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        perceptual._random.cache_clear()
        values.append(random_feature_distance(estimate, truth))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*values)


@pytest.mark.parametrize("net", NETS)
def test_without_the_weights_the_error_names_the_file_and_the_remedy(net, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path))
    x = torch.zeros(1, 1, 40, 40)
    with pytest.raises(FileNotFoundError) as caught:
        lpips(x, x, net=net)
    assert str(caught.value) == (
        f"lpips: {WEIGHTS[net]} is not in {tmp_path / 'perceptual'}. "
        "Run `course fetch perceptual` once, with a network."
    )


def test_weights_that_arrive_later_are_found(generator, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path))
    estimate, truth = pair(generator)
    with pytest.raises(FileNotFoundError):
        lpips(estimate, truth)
    weights_path("alex").parent.mkdir()
    save_file(random_weights("alex", 0, torch.empty(0)), weights_path("alex"))
    digest = fetched.content_digest(weights_path("alex"))
    monkeypatch.setitem(fetched.DIGESTS, WEIGHTS["alex"], digest)
    assert torch.equal(lpips(estimate, truth), random_feature_distance(estimate, truth))


@pytest.mark.parametrize("net", NETS)
def test_the_smallest_image(net):
    least = ARCHITECTURES[net].least_side
    x = torch.zeros(1, 1, least, least)
    assert random_feature_distance(x, x, net=net).item() == 0
    with pytest.raises(ValueError, match=f"needs at least {least} x {least} pixels"):
        random_feature_distance(x[..., 1:], x[..., 1:], net=net)


def test_unknown_net():
    x = torch.zeros(1, 1, 64, 64)
    with pytest.raises(ValueError, match=r"one of \['alex', 'vgg'\], got 'squeeze'"):
        lpips(x, x, net="squeeze")


def test_vgg_features_have_the_sizes_of_their_blocks(generator, made):
    x, _ = pair(generator, channels=1, size=(33, 48))
    layers = ["relu5_3", "relu1_1", "relu3_2"]
    found = vgg_features(x, layers)
    assert list(found) == layers
    sizes = {name: tuple(f.shape[1:]) for name, f in found.items()}
    assert sizes == {"relu5_3": (512, 2, 3), "relu1_1": (64, 33, 48), "relu3_2": (256, 8, 12)}
    assert all((f >= 0).all() and f.dtype == torch.float64 for f in found.values())


def test_the_first_features_of_vgg_by_hand(generator, made):
    x, _ = pair(generator)
    w = random_weights("vgg", 1, torch.empty(0, dtype=torch.float64))["relu1_1.weight"]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    patch = (x[0, :, 4:7, 9:12] - mean.double().view(3, 1, 1)) / std.double().view(3, 1, 1)
    expected = (w * patch).sum((1, 2, 3)).clamp(min=0)
    found = vgg_features(x, ["relu1_1"])["relu1_1"][0, :, 5, 10]
    assert torch.allclose(found, expected, rtol=1e-6)  # mean and std are rounded to float32 above


def test_vgg_features_go_no_deeper_than_asked(generator, made, monkeypatch):
    calls = []
    conv2d = torch.nn.functional.conv2d

    def count(*args):
        calls.append(1)
        return conv2d(*args)

    monkeypatch.setattr("course_lib.metrics.feature_networks.conv2d", count)
    vgg_features(pair(generator)[0], ["relu2_1", "relu1_2", "relu2_1"])
    assert len(calls) == 3


def test_vgg_features_are_differentiable(generator, made):
    x, _ = pair(generator, size=(16, 16), batch=1)
    x.requires_grad_()
    vgg_features(x, ["relu5_3"])["relu5_3"].sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.slow
@needs_weights
def test_vgg_tells_an_astronaut_from_a_cat():
    """Mean deep features of a photograph agree more with its mirror image than with another."""
    x, other = picture("astronaut"), picture("chelsea")
    f, g, h = (
        vgg_features(u, ["relu5_3"])["relu5_3"].mean((2, 3)) for u in (x, mirrored(x), other)
    )
    assert torch.cosine_similarity(f, g) > torch.cosine_similarity(f, h)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["relu5_4"], r"names of layers among relu1_1, .*, relu5_3; got relu5_4"),
        ([], r"got none"),
    ],
)
def test_unknown_layers_are_refused(layers, message, made):
    with pytest.raises(ValueError, match=message):
        vgg_features(torch.zeros(1, 3, 32, 32), layers)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 32, 32), r"shape \(B, C, H, W\)"),
        ((1, 2, 32, 32), "1 .grey. or 3"),
        ((1, 3, 15, 32), "at least 16 x 16"),
    ],
)
def test_vgg_features_refuse_other_images(shape, message, made):
    with pytest.raises(ValueError, match=message):
        vgg_features(torch.zeros(shape), ["relu1_1"])


def test_a_single_layer_is_asked_for_as_a_list():
    with pytest.raises(ValueError, match=r"a list of layers, got 'relu1_2': \['relu1_2'\]"):
        vgg_features(torch.zeros(1, 3, 32, 32), "relu1_2")


def test_a_truth_of_another_precision_is_refused():
    x = torch.zeros(1, 3, 32, 32)
    with pytest.raises(ValueError, match=r"truth torch\.float64 on cpu; they must agree"):
        random_feature_distance(x, x.double())


def test_a_damaged_file_of_weights_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path))
    path = tmp_path / "perceptual" / "alexnet.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"damaged")
    x = torch.zeros(1, 3, 32, 32)
    with pytest.raises(CourseError, match=r"alexnet\.safetensors .*cut short or changed. Run that"):
        lpips(x, x)
