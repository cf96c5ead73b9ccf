"""Diffusion models published by EDM (Karras et al. 2022), used on images in [0, 1]."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.metrics.images import signed_to_unit, unit_to_signed
from course_lib.models.denoiser import PreconditionedDenoiser
from course_lib.models.published.catalogue import where_from
from course_lib.models.published.restricted_pickle import Saved, read_pickle
from course_lib.models.published.song_unet import SongUNet, SongUNetForm
from course_lib.models.published.weight_files import check_file, load_whole
from course_lib.project import CourseError

# Options of a file that change nothing at inference: dropout, half precision, levels for samplers.
OF_TRAINING = {"dropout", "label_dropout", "use_fp16", "sigma_min", "sigma_max"}


@dataclass(frozen=True)
class EDMFile:
    """The content of an EDM file.

    Args:
        class_name: name of the outer class, which says how noise levels enter.
        init_kwargs: arguments that the network was made with.
        tensors: its averaged weights, by name.
        dataset: settings of the set that it was trained on.
    """

    class_name: str
    init_kwargs: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(repr=False)
    dataset: Mapping[str, Any] = field(default_factory=dict)


def read_edm(path: Path) -> EDMFile:
    """The contents of an EDM pickle; no code of the file runs.

    Raises:
        CourseError: no such file, a pointer of Git LFS in its place, a damaged file, one that
            asks for anything but tensors and containers, or one without averaged weights.
    """
    check_file(path, where_from(path.name))
    content = read_pickle(path)
    if not isinstance(content, dict) or not isinstance(content.get("ema"), Saved):
        raise CourseError(f"{path}: expected a dictionary with an entry 'ema', a network.")
    network = content["ema"]
    return EDMFile(
        network.class_name,
        dict(network.init_kwargs),
        network.tensors(),
        dict(content.get("dataset_kwargs") or {}),
    )


class SignedRange(nn.Module):
    """A denoiser of images in [-1, 1] as one of images in [0, 1]: twice the noise, half the image.

    D(x, sigma) = signed_to_unit(D_signed(unit_to_signed(x), 2 sigma)). Potentials differ by
    n log 2, and come out here for [0, 1].

    Args:
        denoiser: on [-1, 1].
        img_size: (C, H, W).
        data_std: standard deviation of a pixel in [0, 1].
    """

    sigma_max = 40.0  # the published networks know noise of up to 80, for [-1, 1]

    def __init__(
        self, denoiser: nn.Module, img_size: tuple[int, int, int], data_std: float
    ) -> None:
        super().__init__()
        self.denoiser, self.img_size, self.data_std = denoiser, tuple(img_size), data_std

    def forward(
        self, x: Float[Tensor, "b c h w"], sigma: float | Tensor
    ) -> Float[Tensor, "b c h w"]:
        """D(x, sigma)."""
        return signed_to_unit(self.denoiser(unit_to_signed(x), 2 * torch.as_tensor(sigma).to(x)))


class _Labelled(nn.Module):
    """F of a `PreconditionedDenoiser`, with one class for all images."""

    def __init__(
        self, network: SongUNet, sigma_data: float, label: int | None, classes: int
    ) -> None:
        super().__init__()
        self.network, self.shift = network, torch.tensor(sigma_data).log().item() / 4
        self.label, self.classes = label, classes

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        labels = None
        if self.classes:
            labels = x.new_zeros(len(x), self.classes)
            labels[:, self.label] = 1
        return self.network(x, level + self.shift, labels)


def load_edm(path: Path, *, label: int | None = None) -> SignedRange:
    """A published EDM model as a denoiser of images in [0, 1], in evaluation mode, frozen.

    Args:
        path: the file that you have fetched; see `PUBLISHED` for licences.
        label: the class, for a model with classes; its potential is -log p(x | class).

    Raises:
        CourseError: as `read_edm`; another network than DDPM++ or NCSN++, or one with options that
            are not known here; a class that is missing, or one too many.
    """
    saved = read_edm(path)
    options = {k: v for k, v in saved.init_kwargs.items() if k not in OF_TRAINING}
    kind = options.pop("model_type", "DhariwalUNet")
    if saved.class_name != "EDMPrecond" or kind != "SongUNet":
        raise CourseError(
            f"{path} holds {saved.class_name} around {kind}; only EDMPrecond around SongUNet can "
            "be built here (FFHQ, AFHQv2 and CIFAR-10; not ImageNet)."
        )
    sigma_data, classes = options.pop("sigma_data", 0.5), options.get("label_dim", 0)
    unknown = sorted(options.keys() - SongUNetForm.__dataclass_fields__.keys())
    if unknown:
        raise CourseError(f"{path} was made with options that are not known here: {unknown}.")
    if not (label is None if not classes else label in range(classes)):
        wanted = f"a label from 0 to {classes - 1}" if classes else "no label: it has no classes"
        raise CourseError(f"{path} needs {wanted}, got {label}.")
    form = SongUNetForm(**options)
    network = SongUNet(form)
    weights = {name.removeprefix("model."): value for name, value in saved.tensors.items()}
    load_whole(network, weights, str(path))
    img_size = (form.img_channels, form.img_resolution, form.img_resolution)
    signed = PreconditionedDenoiser(
        _Labelled(network, sigma_data, label, classes),
        data_mean=0.0,
        data_std=sigma_data,
        img_size=img_size,
    )
    return SignedRange(signed, img_size, sigma_data / 2).eval().requires_grad_(False)
