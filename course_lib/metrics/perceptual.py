"""Distances between the features of a network.

LPIPS, d(x, y) = sum_l mean_ij sum_c w_lc (f_lc(x) - f_lc(y))^2: no root, weights not squared, the
features f of each pixel normalised over their channels. Zhang, Isola, Efros, Shechtman & Wang
2018, doi:10.1109/CVPR.2018.00068, computed by their package `lpips`, version 0.1 of its weights.
"""

import socket
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.metrics.images import check_channels, image_pair, unit_to_signed
from course_lib.metrics.torchvision_shim import make_torchvision_importable

RANDOM_SEED = 0


class Backbone(NamedTuple):
    """A classifier trained on ImageNet, as torchvision names its weights."""

    file: str
    megabytes: float
    least_side: int  # of an image, in pixels


BACKBONES = {
    "alex": Backbone("alexnet-owt-7be5be79.pth", 233.1, 31),
    "vgg": Backbone("vgg16-397923af.pth", 527.8, 16),
    "squeeze": Backbone("squeezenet1_1-b8a52dc0.pth", 4.7, 17),
}


def lpips(estimate: Tensor, truth: Tensor, *, net: str = "alex") -> Float[Tensor, "b"]:
    """Learned perceptual distance of each image: 0 for equal images, about 1 for unlike ones.

    Images are (B, 1 or 3, H, W) in [0, 1]; a grey image repeats its channel. The figure depends on
    `net`, "alex", "vgg" or "squeeze", which belongs beside it.

    Raises:
        FileNotFoundError: the backbone is not in torch's cache; nothing is downloaded here.
        ImportError: the packages lpips and torchvision are missing.
        ValueError: unknown net, other shapes, or images too small for the net.
    """
    return _distance("lpips", estimate, truth, net, random=False)


def random_feature_distance(
    estimate: Tensor, truth: Tensor, *, net: str = "alex"
) -> Float[Tensor, "b"]:
    """The formula of LPIPS on a backbone with random weights. It is not LPIPS.

    It needs no download, and serves to study the formula; its figures compare with those of no
    paper. The weights come from one fixed seed, the same in every call; the global random state
    is left alone. Arguments and errors as in `lpips`, FileNotFoundError aside.
    """
    return _distance("random_feature_distance", estimate, truth, net, random=True)


def backbone_path(net: str) -> Path:
    """Path of the backbone of `net` in torch's cache, present or not."""
    return Path(torch.hub.get_dir()) / "checkpoints" / BACKBONES[net].file


def download_backbone(net: str, *, timeout: float = 30.0) -> Path:
    """Fetch the backbone into torch's cache, with its hash checked; give up after a silence.

    Args:
        timeout: seconds without an answer after which the download fails.

    Raises:
        OSError: no network, or no answer.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout)
    try:
        url = f"https://download.pytorch.org/models/{BACKBONES[net].file}"
        torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True)
    finally:
        socket.setdefaulttimeout(before)
    return backbone_path(net)


def _distance(name: str, estimate: Tensor, truth: Tensor, net: str, *, random: bool) -> Tensor:
    estimate, truth = image_pair(name, estimate, truth)
    check_channels(name, estimate)
    if net not in BACKBONES:
        raise ValueError(f"{name}: expected net to be one of {sorted(BACKBONES)}, got {net!r}.")
    least = BACKBONES[net].least_side
    if min(estimate.shape[-2:]) < least:
        raise ValueError(
            f"{name}: net {net!r} needs at least {least} x {least} pixels, the image has only "
            f"{estimate.shape[-2]} x {estimate.shape[-1]}."
        )
    if not random and not backbone_path(net).is_file():
        raise FileNotFoundError(
            f"{name}: the backbone {BACKBONES[net].file} ({BACKBONES[net].megabytes} MB) is not in "
            f"{backbone_path(net).parent}. Copy it there, or fetch it once with a network: "
            f"course_lib.metrics.perceptual.download_backbone({net!r})."
        )
    model = _model(net, random, estimate.dtype, estimate.device)
    x, y = (unit_to_signed(u.expand(-1, 3, -1, -1)) for u in (estimate, truth))
    return model(x, y).flatten()


@cache
def _model(net: str, random: bool, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """The package's network, ready to compare images in [-1, 1]."""
    package = _lpips_package()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)  # torchvision: 'pretrained' is old
        torch.default_generator.manual_seed(RANDOM_SEED)  # of the fork
        model = package.LPIPS(net=net, pnet_rand=random, verbose=False)
    return model.requires_grad_(False).to(device, dtype)


def _lpips_package() -> ModuleType:
    try:
        make_torchvision_importable()
        import lpips as package
    except ImportError as error:
        raise ImportError(
            f"lpips needs its package and torchvision, and importing them failed ({error}). "
            "Install them with `pip install course-lib[perceptual]`."
        ) from error
    return package
