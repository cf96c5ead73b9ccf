"""The formula of LPIPS, and what happens without its downloads."""

import socket
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

from course_lib.metrics import lpips, perceptual, random_feature_distance
from course_lib.metrics.perceptual import BACKBONES, download_backbone
from course_lib.metrics.torchvision_shim import make_torchvision_importable

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of images in [-1, 1]
MODELS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}


def pair(generator, channels=3, size=(37, 45), batch=2):
    truth = torch.rand(batch, channels, *size, generator=generator, dtype=torch.float64)
    return truth + 0.1 * torch.randn(truth.shape, generator=generator).double(), truth


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """An empty cache, and a network that must not be touched."""

    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    perceptual._model.cache_clear()
    yield tmp_path
    perceptual._model.cache_clear()


@pytest.mark.parametrize("net", ["alex", "squeeze"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_formula(net, channels, generator):
    """Pixel by pixel, with the heads read from the package's own file."""
    estimate, truth = pair(generator, channels)
    found = random_feature_distance(estimate, truth, net=net)
    model = perceptual._model(net, True, torch.float64, torch.device("cpu"))
    weights = Path(sys.modules["lpips"].__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    heads = [w.flatten().double().numpy() for w in torch.load(weights, map_location="cpu").values()]

    def features(image):
        colour = 2 * image.expand(3, -1, -1).numpy() - 1
        scaled = (colour - np.reshape(SHIFT, (3, 1, 1))) / np.reshape(SCALE, (3, 1, 1))
        # The package keeps shift and scale in single precision.
        return [f[0].numpy() for f in model.net(torch.from_numpy(scaled)[None])]

    for i in range(2):
        expected = 0.0
        for a, b, w in zip(features(estimate[i]), features(truth[i]), heads, strict=True):
            height, width = a.shape[1:]
            for r in range(height):
                for c in range(width):
                    x, y = a[:, r, c], b[:, r, c]
                    x, y = x / (np.sqrt(x @ x) + 1e-10), y / (np.sqrt(y @ y) + 1e-10)
                    expected += w @ (x - y) ** 2 / (height * width)
        assert found[i].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("net", ["alex", "squeeze"])
def test_identities(net, generator):
    estimate, truth = pair(generator)
    d = random_feature_distance(estimate, truth, net=net)
    assert d.shape == (2,)
    assert (d > 0).all()
    assert torch.equal(random_feature_distance(truth, truth, net=net), torch.zeros(2).double())
    assert torch.allclose(d, random_feature_distance(truth, estimate, net=net), rtol=1e-12)
    shared = random_feature_distance(estimate, truth[:1], net=net)
    assert torch.allclose(shared[0], d[0], rtol=1e-12)
    single = random_feature_distance(estimate.float(), truth.float(), net=net)
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), d, rtol=1e-3)


def test_grey_is_colour_with_equal_channels(generator):
    estimate, truth = pair(generator, channels=1)
    grey = random_feature_distance(estimate, truth, net="squeeze")
    colour = random_feature_distance(
        estimate.repeat(1, 3, 1, 1), truth.repeat(1, 3, 1, 1), net="squeeze"
    )
    assert torch.equal(grey, colour)


def test_gradients_reach_the_image_and_not_the_network(generator):
    estimate, truth = pair(generator, batch=1)
    estimate.requires_grad_()
    random_feature_distance(estimate, truth, net="squeeze").sum().backward()
    assert estimate.grad.abs().sum() > 0
    model = perceptual._model("squeeze", True, torch.float64, torch.device("cpu"))
    assert not any(p.requires_grad for p in model.parameters())


def test_the_random_weights_are_fixed_and_the_global_state_is_left_alone(generator):
    estimate, truth = pair(generator)
    values = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        perceptual._model.cache_clear()
        values.append(random_feature_distance(estimate, truth, net="squeeze"))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*values)


@pytest.mark.parametrize("net", BACKBONES)
def test_without_the_backbone_the_error_names_file_size_and_remedy(net, offline):
    x = torch.zeros(1, 1, 40, 40)
    with pytest.raises(FileNotFoundError) as caught:
        lpips(x, x, net=net)
    message = str(caught.value)
    file, size = BACKBONES[net].file, BACKBONES[net].megabytes
    assert all(part in message for part in (f"{file} ({size} MB)", str(offline), "Copy it there"))
    assert f"download_backbone('{net}')" in message


def test_with_the_backbone_in_the_cache(offline, generator):
    """Any file of the right form serves: LPIPS then uses it, without a network."""
    make_torchvision_importable()
    from torchvision.models import squeezenet1_1

    with torch.random.fork_rng(devices=[]):
        state = squeezenet1_1().state_dict()
    (offline / "checkpoints").mkdir()
    torch.save(state, offline / "checkpoints" / BACKBONES["squeeze"].file)
    estimate, truth = pair(generator)
    before = torch.get_rng_state()
    d = lpips(estimate, truth, net="squeeze")
    assert torch.equal(torch.get_rng_state(), before)
    assert (d > 0).all()
    model = perceptual._model("squeeze", False, torch.float64, torch.device("cpu"))
    first = next(iter(model.net.parameters()))
    assert torch.equal(first, state["features.0.weight"].double())


@pytest.mark.parametrize("net", BACKBONES)
def test_the_table_of_backbones_is_torchvisions(net):
    make_torchvision_importable()
    from torchvision.models import get_model_weights

    weights = get_model_weights(MODELS[net]).IMAGENET1K_V1
    assert weights.url.endswith(f"/{BACKBONES[net].file}")
    assert weights.meta["_file_size"] == pytest.approx(BACKBONES[net].megabytes, abs=0.05)


@pytest.mark.parametrize("net", ["alex", "squeeze"])
def test_the_smallest_image(net):
    least = BACKBONES[net].least_side
    x = torch.zeros(1, 1, least, least)
    assert random_feature_distance(x, x, net=net).item() == 0
    with pytest.raises(ValueError, match=f"needs at least {least} x {least} pixels"):
        random_feature_distance(x[..., 1:], x[..., 1:], net=net)


def test_unknown_net():
    x = torch.zeros(1, 1, 64, 64)
    with pytest.raises(ValueError, match=r"one of \['alex', 'squeeze', 'vgg'\], got 'resnet'"):
        lpips(x, x, net="resnet")


def test_a_download_gives_up_and_restores_the_timeout(monkeypatch):
    seen = []

    def fail(url, **options):
        seen.append((url, socket.getdefaulttimeout(), options["check_hash"]))
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    before = socket.getdefaulttimeout()
    with pytest.raises(OSError, match="no network"):
        download_backbone("vgg", timeout=7.0)
    assert socket.getdefaulttimeout() == before
    assert seen[0][0].endswith("/vgg16-397923af.pth")
    assert seen[0][1:] == (7.0, True)


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    perceptual._model.cache_clear()
    monkeypatch.setitem(sys.modules, "lpips", None)
    x = torch.zeros(1, 1, 64, 64)
    with pytest.raises(ImportError, match=r"pip install course-lib\[perceptual\]"):
        random_feature_distance(x, x)


def test_torchvision_can_be_imported_twice():
    make_torchvision_importable()
    import torchvision

    make_torchvision_importable()
    assert hasattr(torch.ops.torchvision, "nms")
    assert torchvision.models.squeezenet1_1
