"""The convolutions of two classifiers, AlexNet and VGG16, up to the features of any layer.

Krizhevsky 2014, arXiv:1404.5997 (AlexNet, the variant with one column), and Simonyan & Zisserman
2015, arXiv:1409.1556 (VGG16); layers and sizes as in torchvision, whose weights these are.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, relu

Features = dict[str, Float[Tensor, "b _ _ _"]]  # (B, C, h, w), each layer of its own size
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of images in [0, 1]


class Layer(NamedTuple):
    """A convolution and its ReLU, after a max-pooling of stride 2 if `pool` is positive."""

    name: str  # of the features, such as "relu1_2"; the parameters are "relu1_2.weight", ".bias"
    channels: tuple[int, int]  # in, out
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    pool: int = 0  # side of the max-pooling window, in pixels


class Architecture(NamedTuple):
    """Layers in order, those that LPIPS compares, and the smallest image."""

    title: str
    layers: tuple[Layer, ...]
    compared: tuple[str, ...]
    least_side: int  # pixels

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter, `NAME.weight`, `NAME.bias`; `NAME.linear` where compared."""
        found = {}
        for name, (c_in, c_out), side, *_ in self.layers:
            found |= {f"{name}.weight": (c_out, c_in, side, side), f"{name}.bias": (c_out,)}
            if name in self.compared:
                found[f"{name}.linear"] = (c_out,)
        return found


def _vgg16() -> tuple[Layer, ...]:
    layers, c_in = [], 3
    for block, (depth, c_out) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)], 1):
        for i in range(1, depth + 1):
            pool = 2 if block > 1 and i == 1 else 0
            layers.append(Layer(f"relu{block}_{i}", (c_in, c_out), pool=pool))
            c_in = c_out
    return tuple(layers)


ARCHITECTURES = {
    "alex": Architecture(
        "AlexNet",
        (
            Layer("relu1", (3, 64), 11, stride=4, padding=2),
            Layer("relu2", (64, 192), 5, padding=2, pool=3),
            Layer("relu3", (192, 384), pool=3),
            Layer("relu4", (384, 256)),
            Layer("relu5", (256, 256)),
        ),
        ("relu1", "relu2", "relu3", "relu4", "relu5"),
        least_side=31,
    ),
    "vgg": Architecture(
        "VGG16",
        _vgg16(),
        ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"),
        least_side=16,
    ),
}


def features(
    net: str, weights: Mapping[str, Tensor], x: Float[Tensor, "b #3 h w"], wanted: Collection[str]
) -> Features:
    """The wanted features of images in [0, 1]; computed no deeper than the last of them.

    Args:
        net: key of ARCHITECTURES.
        weights: parameters named and shaped as in `Architecture.shapes`.
        x: images, normalised here by ImageNet's mean and standard deviation of each channel; a
            grey image repeats its channel.
        wanted: names of layers.
    """
    mean, std = (x.new_tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    u, found = (x - mean) / std, {}
    for name, _, _, stride, padding, pool in ARCHITECTURES[net].layers:
        if len(found) == len(set(wanted)):
            break
        u = max_pool2d(u, pool, 2) if pool else u
        u = relu(conv2d(u, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, padding))
        if name in wanted:
            found[name] = u
    return found


def random_weights(net: str, seed: int, like: Tensor) -> dict[str, Tensor]:
    """Kernels N(0, 2 / fan-in) (He et al. 2015, arXiv:1502.01852), biases 0, linear weights 1."""
    generator, weights = torch.Generator().manual_seed(seed), {}
    for name, shape in ARCHITECTURES[net].shapes().items():
        if name.endswith(".weight"):
            std = (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
            weights[name] = std * torch.randn(shape, generator=generator)
        else:
            weights[name] = torch.full(shape, float(name.endswith(".linear")))
    return {name: value.to(like) for name, value in weights.items()}
