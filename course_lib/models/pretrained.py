"""Weights that come with the course: a file of numbers, and a card with their provenance."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from course_lib.models.autoencoder import DenoisingAutoencoder
from course_lib.models.classifier import PlateReader
from course_lib.models.damage_detector import DamageDetector
from course_lib.models.denoiser import unet_denoiser
from course_lib.models.flow import SuperResolutionFlow
from course_lib.models.gan import GAN
from course_lib.models.hyperprior_vae import hyperprior_vae
from course_lib.models.measurement_encoder import MeasurementEncoderForm
from course_lib.models.srresnet import SRResNet
from course_lib.models.stacked_vae import stacked_vae
from course_lib.models.structured_vae import structured_vae
from course_lib.models.translation import LatentTranslation
from course_lib.models.vae_networks import compact_vae, conv_vae
from course_lib.models.vdvae import vdvae
from course_lib.project import CourseError, write_atomically

WEIGHTS = Path(__file__).parent / "weights"
ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "compact_vae": compact_vae,
    "conv_vae": conv_vae,
    "DamageDetector": DamageDetector,
    "DenoisingAutoencoder": DenoisingAutoencoder,
    "GAN": GAN,
    "hyperprior_vae": hyperprior_vae,
    "LatentTranslation": LatentTranslation,
    "measurement_encoder": lambda **arguments: MeasurementEncoderForm(**arguments).build(),
    "PlateReader": PlateReader,
    "stacked_vae": stacked_vae,
    "vdvae": vdvae,
    "SRResNet": SRResNet,
    "SuperResolutionFlow": SuperResolutionFlow,
    "structured_vae": structured_vae,
    "unet_denoiser": unet_denoiser,
}


def available() -> list[str]:
    """Names that `load_pretrained` takes."""
    return sorted(card.stem for card in WEIGHTS.glob("*.json"))


def read_card(name: str, folder: Path = WEIGHTS) -> dict[str, Any]:
    """The card of released weights: architecture, data, licence, training, figures.

    Raises:
        CourseError: there is no such card.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(card.stem for card in folder.glob("*.json"))) or "none"
        raise CourseError(
            f"No weights named {name!r} in {folder}. There are: {known}. "
            f"If there is a recipe of that name, train them: course train {name}"
        )
    return json.loads(path.read_text(encoding="utf-8"))


def load_pretrained(
    name: str, device: torch.device | str | None = None, *, folder: Path = WEIGHTS
) -> Any:
    """A trained model in evaluation mode, float32, with frozen parameters.

    Its class is written in the card, so the type is Any. Parts that only training needs may be
    left out, and are None.

    Args:
        name: one of `available()`.
        device: device of the model; the CPU by default.
        folder: folder of cards and weights, for your own ones.

    Raises:
        CourseError: unknown name, or the file is missing or is not the one the card describes.
    """
    card = read_card(name, folder)
    state = _read_weights(name, card["sha256"], folder)
    if "base" in card:
        state = _read_weights(**card["base"]) | state
    model = leave_out(build(card["architecture"], card["arguments"]), card.get("left_out", ()))
    model.load_state_dict({key: value.float() for key, value in state.items()})
    return model.to(device or "cpu").eval().requires_grad_(False)


def leave_out(model: nn.Module, parts: Iterable[str]) -> nn.Module:
    """The model with None in the place of some parts."""
    for part in parts:
        setattr(model, part, None)
    return model


def _read_weights(name: str, sha256: str, folder: Path = WEIGHTS) -> dict[str, Tensor]:
    """The numbers of a file, if it is the expected one."""
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        raise CourseError(f"{path} is missing beside its card: reinstall the course, or train it.")
    digest = hash_file(path)
    if digest != sha256:
        raise CourseError(
            f"{path} is not the file that its card describes: sha256 {digest}, expected {sha256}. "
            "It was cut short or changed: reinstall the course. (If you trained it again, train "
            "again what is built on it.)"
        )
    return load_file(path)


def build(architecture: str, arguments: dict[str, Any]) -> nn.Module:
    """A model with fresh weights, from the two entries of a card that define it."""
    if architecture not in ARCHITECTURES:
        raise CourseError(
            f"Unknown architecture {architecture!r}. There are: {', '.join(ARCHITECTURES)}."
        )
    return ARCHITECTURES[architecture](**arguments)


def save_weights(model: nn.Module, name: str, folder: Path, base: str | None = None) -> str:
    """Write `name`.safetensors in half precision, then rename; returns its sha256.

    Single numbers, such as a noise level, keep their precision. What released weights named `base`
    have under the same key, and equal, is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        key: (value.half() if value.is_floating_point() and value.ndim else value).contiguous()
        for key, value in model.state_dict().items()
    }
    if base is not None:
        known = load_file(WEIGHTS / f"{base}.safetensors")
        state = {k: v for k, v in state.items() if k not in known or not v.equal(known[k])}
    draft = folder / f".{name}.safetensors"
    save_file(state, draft)
    digest = hash_file(draft)
    draft.replace(folder / f"{name}.safetensors")
    return digest


def save_card(card: dict[str, Any], name: str, folder: Path) -> None:
    """Write `name`.json, then rename."""
    write_atomically(folder / f"{name}.json", json.dumps(card, indent=2) + "\n")


def hash_file(path: Path) -> str:
    """The sha256 of a whole file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
