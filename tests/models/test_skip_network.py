"""Many small networks that run as one must each be the network of the textbook."""

import math

import pytest
import torch
from torch import nn

from course_lib.models.skip_network import OwnConv, OwnNorm, SkipNetwork, repeated
from course_lib.rng import generator_from


def small(seed=0, **options):
    options = {"inputs": 5, "channels": (6, 4), "skip": 2} | options
    return SkipNetwork(generator=generator_from(seed), **options)


def different(n, **options):
    """n networks with weights of their own, in double precision."""
    network = repeated(small(**options), n).double()
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator_from(1), dtype=torch.float64)
        parameter.data += 0.3 * noise
    return network


def only(network, i):
    """Network i of several, alone."""
    alone = repeated(small(), 1).double()
    for mine, all_of_them in zip(alone.parameters(), network.parameters(), strict=True):
        mine.data = all_of_them.data[i : i + 1].clone()
    return alone


def noise(*shape):
    return torch.rand(shape, generator=generator_from(2), dtype=torch.float64)


@pytest.mark.parametrize("b", [3, 1], ids=["own noise", "shared noise"])
def test_each_network_is_alone(b):
    """The same sums in another order: rounding, some 1e-15 times the depth."""
    network, z = different(3), noise(b, 5, 12, 16)
    together = network(z)
    for i in range(3):
        alone = only(network, i)(z[min(i, b - 1)][None])
        torch.testing.assert_close(together[i], alone[0], rtol=0, atol=1e-12)


def test_gradients_do_not_mix():
    network = different(3)
    network(noise(1, 5, 12, 12))[1].sum().backward()
    for parameter in network.parameters():
        assert (parameter.grad[[0, 2]] == 0).all()
        assert (parameter.grad[1] != 0).any()


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_of_the_textbook(stride):
    own = repeated(OwnConv(3, 4, 3, stride, bias=True, generator=generator_from(0)), 2).double()
    own.weight.data[1] *= 2
    x = noise(2, 3, 7, 8)
    y = own(x)
    for i in range(2):
        plain = nn.Conv2d(3, 4, 3, stride, padding=1, padding_mode="reflect").double()
        plain.weight.data, plain.bias.data = own.weight.data[i], own.bias.data[i]
        torch.testing.assert_close(y[i : i + 1], plain(x[i : i + 1]), rtol=0, atol=1e-14)


def test_normalisation_of_the_textbook():
    """Batch normalisation in training mode, of one image at a time."""
    own = repeated(OwnNorm(3), 2).double()
    own.weight.data[1], own.bias.data[1] = 2.0, -0.5
    x = noise(2, 3, 7, 8)
    y = own(x)
    for i in range(2):
        plain = nn.BatchNorm2d(3).double()
        plain.weight.data, plain.bias.data = own.weight.data[i], own.bias.data[i]
        expected = nn.functional.leaky_relu(plain(x[i : i + 1]), 0.2)
        torch.testing.assert_close(y[i : i + 1], expected, rtol=0, atol=1e-14)


def test_published_size():
    """2,217,831 parameters, less the biases that the next normalisation would take away again."""
    network = SkipNetwork(3, channels=(128,) * 5, skip=4, generator=generator_from(0))
    idle = 5 * (2 * 128 + 4 + 2 * 128)
    assert sum(p.numel() for p in network.parameters()) == 2_217_831 - idle


@pytest.mark.parametrize("size", [(5, 5), (17, 12), (16, 32)])
@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
def test_images(size, upsampling):
    """Any size that leaves something to halve, and the range of intensities."""
    images = small(outputs=3, skip=0, upsampling=upsampling)(noise(1, 5, *size).float())
    assert images.shape == (1, 3, *size)
    assert images.min() > 0
    assert images.max() < 1
    assert images.std() > 0


def test_weights_come_from_the_generator():
    for a, b, c in zip(
        small().parameters(), small().parameters(), small(seed=1).parameters(), strict=True
    ):
        assert (a == b).all()
        if a.ndim == 5:
            assert (a != c).any()
            bound = a[0, 0].numel() ** -0.5
            assert 0.8 * bound < a.abs().max() <= bound  # uniform: the largest of 24 or more


def test_repeated():
    one = small()
    before = [p.detach().clone() for p in one.parameters()]
    for parameter, mine, old in zip(
        repeated(one, 4).parameters(), one.parameters(), before, strict=True
    ):
        assert parameter.shape == (4, *old.shape[1:])
        assert (parameter == old).all()
        parameter.data += 1
        assert (mine == old).all()
    with pytest.raises(ValueError, match=r"leading axis of 1 or 4.*weight has shape \(2, 3\)"):
        repeated(nn.Linear(3, 2), 4)


def test_errors():
    for options, message in {
        "channels": ((), "one positive number for each scale"),
        "upsampling": ("cubic", "'bilinear' or 'nearest', got 'cubic'"),
    }.items():
        value, expected = message
        with pytest.raises(ValueError, match=expected):
            small(**{options: value})
    network = repeated(small(), 3)
    for shape in ((2, 5, 8, 8), (3, 4, 8, 8)):
        with pytest.raises(ValueError, match=r"expected noise of shape \(3, 5, H, W\)"):
            network(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"2 scales need sides of more than 4 pixels, got 4 x 8"):
        network(torch.zeros(1, 5, 4, 8))


def test_weights_start_with_variance_one_third_of_the_fan_in():
    """Uniform in (-b, b) with b = 1 / sqrt(fan_in): 40 000 draws reach its ends to 1e-3."""
    weight = OwnConv(40, 40, 5, generator=generator_from(0)).weight * math.sqrt(40 * 25)
    assert weight.abs().max() <= 1
    assert weight.var().item() == pytest.approx(1 / 3, rel=0.02)  # 4 sqrt(0.8 / 40 000)
