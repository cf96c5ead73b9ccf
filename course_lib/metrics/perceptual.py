"""Distances between the features of a network, and the features themselves.

LPIPS, d(x, y) = sum_l mean_ij sum_c w_lc (f_lc(x) - f_lc(y))^2: no root, weights not squared, the
features f of each pixel normalised over their channels. Zhang, Isola, Efros, Shechtman & Wang
2018, doi:10.1109/CVPR.2018.00068, version 0.1 of their weights.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

from course_lib.metrics.feature_networks import ARCHITECTURES, Features, features, random_weights
from course_lib.metrics.fetched import WEIGHTS, check_fetched
from course_lib.metrics.images import check_channels, check_images, image_pair

RANDOM_SEED = 0
PIECE = 8  # images at a time: at 256 x 256 pixels each needs 0.1 GB in VGG16
EPS = 1e-10  # added to the length of a feature, as the authors do


def lpips(estimate: Tensor, truth: Tensor, *, net: str = "alex") -> Float[Tensor, "b"]:
    """Learned perceptual distance of each image: 0 for equal images, about 1 for unlike ones.

    Images are (B, 1 or 3, H, W) in [0, 1]; a grey image repeats its channel. The figure depends on
    `net`, "alex" or "vgg", which belongs beside it, and on the size of the image in pixels.

    Raises:
        FileNotFoundError: the weights are not there; `course fetch perceptual` gets them.
        ValueError: unknown net, other shapes, or images too small for the net.
    """
    _check(net, "lpips", estimate, truth)
    return _distance(net, _published(net, "lpips", estimate), estimate, truth)


def random_feature_distance(
    estimate: Tensor, truth: Tensor, *, net: str = "alex"
) -> Float[Tensor, "b"]:
    """The formula of LPIPS on a network with random kernels and all w = 1. It is not LPIPS.

    It needs no download, and serves to study the formula; its figures compare with those of no
    paper. The kernels come from one fixed seed, the same in every call; the global random state
    is left alone. Arguments and errors as in `lpips`, FileNotFoundError aside.
    """
    _check(net, "random_feature_distance", estimate, truth)
    weights = _random(net, estimate.dtype, estimate.device)
    return _distance(net, weights, estimate, truth)


def vgg_features(x: Tensor, layers: Sequence[str]) -> Features:
    """Features of VGG16, trained to recognise the classes of ImageNet, at some of its layers.

    A layer is named by its ReLU: "relu1_1", "relu1_2", "relu2_1", ..., "relu5_3"; in the i-th
    block, after i - 1 max-poolings by 2, the features have 64, 128, 256, 512, 512 channels. The
    features are those after the ReLU. SRGAN's VGG22 and VGG54 are layers of another network,
    VGG19: the nearest ones here are "relu2_2" and "relu5_3".

    Args:
        x: (B, 1 or 3, H, W) in [0, 1], at least 16 pixels a side. It is normalised here by
            ImageNet's mean (0.485, 0.456, 0.406) and standard deviation (0.229, 0.224, 0.225);
            a grey image repeats its channel.
        layers: names of layers; nothing deeper than the last of them is computed.

    Returns:
        Name of a layer -> features (B, C, h, w), differentiable in x.

    Raises:
        FileNotFoundError: the weights are not there; `course fetch perceptual` gets them.
        ValueError: an unknown layer or none, another shape, or images that are too small.

    Source: Simonyan & Zisserman 2015, arXiv:1409.1556, configuration D.
    """
    if isinstance(layers, str):
        raise ValueError(f"vgg_features: expected a list of layers, got {layers!r}: [{layers!r}].")
    check_images("vgg_features", x)
    _check_size("vgg", "vgg_features", x)
    known = [layer.name for layer in ARCHITECTURES["vgg"].layers]
    unknown = [name for name in layers if name not in known]
    if unknown or not layers:
        raise ValueError(
            f"vgg_features: expected names of layers among {', '.join(known)}; got "
            f"{', '.join(unknown) or 'none'}."
        )
    found = features("vgg", _published("vgg", "vgg_features", x), x, layers)
    return {name: found[name] for name in layers}


def _check(net: str, name: str, estimate: Tensor, truth: Tensor) -> None:
    if net not in ARCHITECTURES:
        raise ValueError(f"{name}: expected net to be one of {sorted(ARCHITECTURES)}, got {net!r}.")
    image_pair(name, estimate, truth)
    if (estimate.dtype, estimate.device) != (truth.dtype, truth.device):
        raise ValueError(
            f"{name}: the estimate is {estimate.dtype} on {estimate.device}, the truth "
            f"{truth.dtype} on {truth.device}; they must agree. Use truth.to(estimate)."
        )
    _check_size(net, name, estimate)


def _check_size(net: str, name: str, x: Tensor) -> None:
    check_channels(name, x)
    least = ARCHITECTURES[net].least_side
    if min(x.shape[-2:]) < least:
        raise ValueError(
            f"{name}: net {net!r} needs at least {least} x {least} pixels, the image has only "
            f"{x.shape[-2]} x {x.shape[-1]}."
        )


def _distance(
    net: str, weights: Mapping[str, Tensor], estimate: Tensor, truth: Tensor
) -> Float[Tensor, "b"]:
    pieces = estimate.split(PIECE)
    truths = truth.split(PIECE) if len(truth) > 1 else [truth] * len(pieces)
    return torch.cat([_compare(net, weights, *pair) for pair in zip(pieces, truths, strict=True)])


def _compare(
    net: str, weights: Mapping[str, Tensor], estimate: Tensor, truth: Tensor
) -> Float[Tensor, "b"]:
    compared = ARCHITECTURES[net].compared
    f, g = (features(net, weights, u, compared) for u in (estimate, truth))
    distance = estimate.new_zeros(len(estimate))
    for name in compared:
        difference = (_unit_length(f[name]) - _unit_length(g[name])).square()
        linear = weights[f"{name}.linear"].view(-1, 1, 1)
        distance = distance + (linear * difference).sum(1).mean((1, 2))
    return distance


def _unit_length(f: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    return f / (torch.linalg.vector_norm(f, dim=1, keepdim=True) + EPS)


def _published(net: str, name: str, like: Tensor) -> Mapping[str, Tensor]:
    path = check_fetched(name, WEIGHTS[net])
    return _read(path.as_posix(), path.stat().st_mtime_ns, like.dtype, like.device)


@cache
def _read(
    path: str, _written: int, dtype: torch.dtype, device: torch.device
) -> Mapping[str, Tensor]:
    """A file of weights, read again only if it is written anew."""
    return {name: value.to(device, dtype) for name, value in load_file(path).items()}


@cache
def _random(net: str, dtype: torch.dtype, device: torch.device) -> Mapping[str, Tensor]:
    return random_weights(net, RANDOM_SEED, torch.empty(0, dtype=dtype, device=device))
