"""Published diffusion models: read without running their code, and used on images in [0, 1].

Nothing is fetched. EDM's files (Karras et al. 2022) are pickles that carry the source code of
their classes, which the usual way to load them executes; here only numbers and plain containers
come out. The score-SDE files (Song et al. 2021) hold the averaged weights as a list without names.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.metrics.images import signed_to_unit, unit_to_signed
from course_lib.models.denoiser import PreconditionedDenoiser
from course_lib.models.pretrained import load_pretrained, read_card
from course_lib.models.published.checkpoints import is_lfs_pointer, load_whole
from course_lib.models.published.song_unet import SongUNet
from course_lib.project import CourseError


class ModelCard(NamedTuple):
    """What has to be known of a model that others have made.

    Args:
        data: what it was trained on.
        licence: of the weights.
        commercial: whether the licence allows commercial use.
        data_range: of the images that the network itself takes; the course's denoiser takes
            [0, 1] all the same.
        source: where the file comes from.
    """

    data: str
    licence: str
    commercial: bool
    data_range: tuple[float, float]
    source: str


_EDM = "https://github.com/NVlabs/edm, section 'Pre-trained models'"
_BY_NC_SA = "CC BY-NC-SA 4.0"
PUBLISHED = {
    **{
        f"edm-{name}-uncond-{kind}.pkl": ModelCard(data, _BY_NC_SA, False, (-1.0, 1.0), _EDM)
        for name, data in {
            "ffhq-64x64": "FFHQ, 64 x 64",
            "afhqv2-64x64": "AFHQv2 (not AFHQ: erratum E9), 64 x 64",
            "cifar10-32x32": "CIFAR-10",
        }.items()
        for kind in ("vp", "ve")
    },
    **{
        f"edm-cifar10-32x32-cond-{kind}.pkl": ModelCard(
            "CIFAR-10, with its classes", _BY_NC_SA, False, (-1.0, 1.0), _EDM
        )
        for kind in ("vp", "ve")
    },
    "ffhq_256_ncsnpp_continuous": ModelCard(
        "FFHQ, 256 x 256",
        "Apache-2.0",
        True,
        (0.0, 1.0),
        "https://github.com/yang-song/score_sde_pytorch, ve/ffhq_256_ncsnpp_continuous",
    ),
}


class Saved:
    """An object of a pickle that is not made: what class it asked for, and its state."""

    def __init__(self, class_name: str = "", state: Mapping[str, Any] | None = None) -> None:
        self.class_name, self.state = class_name, state or {}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.class_name, self.state = type(self).__name__, state

    @property
    def init_kwargs(self) -> Mapping[str, Any]:
        """The arguments that it was made with."""
        return self.state.get("_init_kwargs", {})

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """Parameters and buffers of a module and its parts, named as in a state_dict."""
        own = {**self.state.get("_parameters", {}), **self.state.get("_buffers", {})}
        found = {prefix + name: value for name, value in own.items() if value is not None}
        for name, part in self.state.get("_modules", {}).items():
            if part is not None:
                found |= part.tensors(f"{prefix}{name}.")
        return found


class ModuleDict(Saved):
    """Stands for torch's container of that name, which is pickled as it is."""


class EasyDict(dict):
    """Stands for the dictionary with attributes of that program."""


class DType(Saved):
    """Stands for numpy's description of a number."""

    def __init__(self, code: str, *_: Any) -> None:
        super().__init__(code)

    def __setstate__(self, state: Any) -> None:
        """The order of bytes, which is the usual one."""


class RestrictedUnpickler(pickle.Unpickler):
    """Makes tensors and plain containers; whatever else a pickle asks for is refused.

    A pickle is a program: it may name any function and call it. Here names are looked up in a
    fixed table, in which persistent objects (with the code that they bring along) become `Saved`.
    """

    def find_class(self, module: str, name: str) -> Callable:
        made = _ALLOWED.get((module, name))
        if made is None:
            raise CourseError(
                f"This file asks for {module}.{name}, which is no part of a file of weights. It "
                "was not loaded, since that could run any code."
            )
        return made


def _saved(meta: Mapping[str, Any]) -> Saved:
    """In place of executing meta["module_src"]."""
    return Saved(str(meta["class_name"]), dict(meta["state"]))


def _storage(content: bytes) -> Any:
    """Tensors inside a pickle bring their numbers as the bytes of a file of their own."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _scalar(dtype: DType, content: bytes) -> float:
    """A number of numpy."""
    if dtype.class_name not in ("f4", "f8", "i4", "i8"):
        raise ValueError(f"a number of type {dtype.class_name}")
    return np.frombuffer(content, dtype.class_name)[0].item()


_ALLOWED: dict[tuple[str, str], Callable] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _saved,
    ("dnnlib.util", "EasyDict"): EasyDict,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,  # as older protocols name it
    ("_codecs", "encode"): lambda text, _: text.encode("latin1"),  # and how they write bytes
    ("numpy", "dtype"): DType,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("torch.nn.modules.container", "ModuleDict"): ModuleDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch.storage", "_load_from_bytes"): _storage,
}


@dataclass(frozen=True)
class EDMFile:
    """What an EDM file holds.

    Args:
        class_name: of the outer class, which says how noise levels enter.
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
    _check_file(path)
    try:
        with path.open("rb") as file:
            content = RestrictedUnpickler(file).load()
    except (pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError) as error:
        raise CourseError(
            f"{path} is damaged, or not a pickle ({error}). Fetch it again."
        ) from error
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
        data_std: of a pixel in [0, 1].
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
        path: of the file that you have fetched; see `PUBLISHED` for licences.
        label: the class, for a model with classes; its potential is -log p(x | class).

    Raises:
        CourseError: as `read_edm`; another network than DDPM++ or NCSN++; a class that is missing,
            or one too many.
    """
    saved = read_edm(path)
    options = dict(saved.init_kwargs)
    kind = options.pop("model_type", "DhariwalUNet")
    if saved.class_name != "EDMPrecond" or kind != "SongUNet":
        raise CourseError(
            f"{path} holds {saved.class_name} around {kind}; only EDMPrecond around SongUNet can "
            "be built here (FFHQ, AFHQv2 and CIFAR-10; not ImageNet)."
        )
    side, channels = options.pop("img_resolution"), options.pop("img_channels")
    classes, sigma_data = options.get("label_dim", 0), options.pop("sigma_data", 0.5)
    if bool(classes) != (label is not None) or (classes and not 0 <= label < classes):
        wanted = f"a label from 0 to {classes - 1}" if classes else "no label: it has no classes"
        raise CourseError(f"{path} needs {wanted}, got {label}.")
    for name in ("use_fp16", "sigma_min", "sigma_max"):
        options.pop(name, None)
    network = SongUNet(side, channels, channels, **options)
    weights = {name.removeprefix("model."): value for name, value in saved.tensors.items()}
    load_whole(network, weights, str(path))
    img_size = (channels, side, side)
    signed = PreconditionedDenoiser(
        _Labelled(network, sigma_data, label, classes),
        data_mean=0.0,
        data_std=sigma_data,
        img_size=img_size,
    )
    return SignedRange(signed, img_size, sigma_data / 2).eval().requires_grad_(False)


def load_denoiser(name: str, *, label: int | None = None) -> tuple[nn.Module, str]:
    """A denoiser with what is known of it, from an EDM file or from weights of the course.

    Args:
        name: a path, or one of `available()`.
        label: the class, for a model with classes.

    Raises:
        CourseError: neither a file nor the name of a denoiser.
    """
    if Path(name).suffix:
        model, card = load_edm(Path(name), label=label), PUBLISHED.get(Path(name).name)
        if card is None:
            return model, "not one of the published files; licence and data unknown"
        return model, f"{card.data}; {card.licence}{'' if card.commercial else ', non-commercial'}"
    model = load_pretrained(name)
    if not isinstance(model, PreconditionedDenoiser):
        raise CourseError(f"{name} is a {type(model).__name__}, not a denoiser.")
    card = read_card(name)
    return model, f"{card['data']}; {card['licence']}"


def load_song(path: Path, model: nn.Module) -> nn.Module:
    """The averaged weights of a score-SDE file, put into a model of the same architecture.

    They are a list in the order of `model.parameters()`, those without a gradient left out;
    buffers come from the entry "model", whose names begin with "module.".

    Args:
        path: a file {optimizer, model, ema: {decay, num_updates, shadow_params}, step}.
        model: with fresh weights.

    Raises:
        CourseError: no such file, a damaged one, or one that does not fit: another number of
            tensors, or other shapes.
    """
    _check_file(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        averaged, named = content["ema"]["shadow_params"], content["model"]
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError) as error:
        raise CourseError(f"{path} is damaged, or not a score-SDE file ({error}).") from error
    names = [name for name, value in model.named_parameters() if value.requires_grad]
    if len(averaged) != len(names):
        raise CourseError(
            f"{path} holds {len(averaged)} averaged tensors, the model has {len(names)} "
            "parameters. Build it in the configuration that it was trained in."
        )
    state = {name.removeprefix("module."): value for name, value in named.items()}
    return load_whole(model, state | dict(zip(names, averaged, strict=True)), str(path))


def _check_file(path: Path) -> None:
    if not path.is_file():
        known = PUBLISHED.get(path.name)
        hint = f" It comes from {known.source} ({known.licence})." if known else ""
        raise CourseError(f"There is no file {path}. Fetch it first.{hint}")
    if is_lfs_pointer(path):
        raise CourseError(
            f"{path} is a pointer of Git LFS, not the file itself. Fetch it with `git lfs pull` "
            "in its repository."
        )
