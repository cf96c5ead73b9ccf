"""The method that a name stands for, with its numbers checked and its prior loaded."""

import math
from typing import Any

import torch

from course_lib.inference.vble.posterior import N_DRAWS
from course_lib.models.pretrained import available, load_pretrained, read_card
from course_lib.project import CourseError
from course_lib.restore.networks import keep_intact
from course_lib.restore.old_photos import OldPhotoRestorer
from course_lib.restore.penalties import WEIGHTS, Penalty
from course_lib.restore.plug_and_play import DenoisingPrior
from course_lib.restore.task import check_choice
from course_lib.restore.variational import VariationalBayes

VARIANTS = {"vble": "VBLE-xz", "vble-x": "VBLE-x", "vble-z": "VBLE-z", "map-z": "MAP-z"}
WITH_SAMPLES = ("vble", "vble-x", "vble-z")
METHODS = (*VARIANTS, "pnp", *WEIGHTS)
CONVOLUTIONAL = ("conv_vae", "structured_vae")
DENOISERS = ("unet_denoiser",)
SMALLEST_TILE = 256  # of which 96 x 96 pixels are kept


def choose_method(
    method: str = "vble",
    *,
    model: str | None = None,
    n_samples: int | None = None,
    n_steps: int = 300,
    weight: float | None = None,
    tile: int = 1024,
    seed: int = 0,
    device: str = "cpu",
) -> VariationalBayes | DenoisingPrior | Penalty:
    """One of "vble", "vble-x", "vble-z", "map-z", "pnp", "wiener" and "tv".

    Args:
        method: its name.
        model: name of the prior: a VAE, or for "pnp" a denoiser; that of photographs by default.
        n_samples: number of samples to return; 4 by default, from a method that draws any.
        n_steps, tile, seed: as in `VariationalBayes`.
        weight: as in `Penalty` and `DenoisingPrior`.
        device: where the arithmetic is done: "cpu", "cuda", "cuda:1".

    Raises:
        CourseError: an option that does not fit, or no such weights.
    """
    check_choice("method", method, METHODS)
    if n_samples and method not in WITH_SAMPLES:
        raise CourseError(
            f"`n_samples`: {method} has one answer and draws none; {', '.join(WITH_SAMPLES)} do."
        )
    n_samples = 4 if n_samples is None else n_samples
    if not 0 <= n_samples <= N_DRAWS:
        raise CourseError(f"`n_samples`: expected 0 ... {N_DRAWS}, got {n_samples}.")
    if n_steps < 1:
        raise CourseError(f"`n_steps`: expected 1 or more, got {n_steps}.")
    if tile < SMALLEST_TILE:
        raise CourseError(f"`tile`: expected {SMALLEST_TILE} pixels or more, got {tile}.")
    if weight is not None and method in VARIANTS:
        raise CourseError(f"`weight` is for pnp, wiener and tv; {method} has none.")
    if model is not None and method in WEIGHTS:
        raise CourseError(f"`model`: {method} has no network; leave it out.")
    if weight is not None and not 0 < weight < math.inf:
        raise CourseError(f"`weight`: expected a positive number, got {weight}.")
    _check_device(device)
    if method in WEIGHTS:
        return Penalty("wiener" if method == "wiener" else "tv", weight, device)
    if method == "pnp":
        name = model or "diffusion_photos32"
        return DenoisingPrior(_load(name, DENOISERS, device), weight, device=device, name=name)
    name = model or "structured_vae_photos64"
    vae = _load(name, CONVOLUTIONAL, device)
    numbers = {"n_steps": n_steps, "n_samples": n_samples, "tile": tile, "seed": seed}
    return VariationalBayes(vae, VARIANTS[method], name=name, **numbers)


OLD_PHOTO_METHODS = {"direct": "dae_photos64", "translation": "translation_photos64"}


def choose_old_photo_restorer(
    method: str = "direct", device: str = "cpu"
) -> tuple[OldPhotoRestorer, dict[str, str]]:
    """The chain for old photographs, and what a report says of it.

    Args:
        method: "direct" for the denoising autoencoder, "translation" by way of latents.
        device: where the arithmetic is done.

    Raises:
        CourseError: another word, or a device that cannot be used.
    """
    check_choice("method", method, tuple(OLD_PHOTO_METHODS))
    _check_device(device)
    name = OLD_PHOTO_METHODS[method]
    detector = load_pretrained("detector_photos64", device)
    repair = keep_intact(load_pretrained(name, device))
    facts = {"method": method, "model": name, "detector": "detector_photos64"}
    return OldPhotoRestorer(detector.probability, repair, device), facts


def _load(name: str, architectures: tuple[str, ...], device: str) -> Any:
    def fits(name: str) -> bool:
        card = read_card(name)
        channels = card["arguments"].get("img_size", [1])[0]
        return card["architecture"] in architectures and channels == 1

    if not fits(name):
        raise CourseError(
            f"`model`: {name} is not what this method takes, or not for grey images of any size. "
            f"There are: {', '.join(filter(fits, available()))}."
        )
    return load_pretrained(name, device).to(memory_format=torch.channels_last)


def _check_device(device: str) -> None:
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch's words for what it does not have
        reason = str(error).splitlines()[0]
        raise CourseError(f"`device`: {device} cannot be used ({reason}).") from error
