"""A picture file in, a folder of results out: what `course restore` does, and what it refuses."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage.restoration import estimate_sigma
from torch import Tensor, nn
from torch.nn.functional import interpolate

from course_lib.data.picture_files import Picture, read_picture, write_picture
from course_lib.inference.vble.vble import DRAWS
from course_lib.models.pretrained import available, load_pretrained, read_card
from course_lib.operators import bicubic_kernel, gaussian_kernel
from course_lib.project import CourseError, write_atomically
from course_lib.restore.photographs import Degradation, Restoration, restore_photo

OPERATORS = ("deblur", "super-resolution", "inpaint", "denoise")
METHODS = {
    "vble": "VBLE-xz",
    "vble-x": "VBLE-x",
    "vble-z": "VBLE-z",
    "map-z": "MAP-z",
    "wiener": "wiener",
    "tv": "tv",
}
WITH_SAMPLES = ("vble", "vble-x", "vble-z")
CONVOLUTIONAL = ("conv_vae", "structured_vae")
GREY_LEVEL = 1 / 255
ROUNDING = 1 / math.sqrt(12)  # standard deviation of rounding to grey levels, in grey levels
SIGMAS = (0.1, 100.0)  # that are believed, in grey levels
SMALLEST_TILE = 256  # of which 96 x 96 pixels are kept
WHITES = (1, 2, 5, 10, 20, 50, 100, 255)  # grey levels that white may stand for in std.png


def restore_file(
    path: Path,
    out: Path,
    *,
    operator: str,
    method: str = "vble",
    kernel_std: float | None = None,
    kernel_file: Path | None = None,
    factor: int | None = None,
    mask_file: Path | None = None,
    sigma: float | None = None,
    weight: float | None = None,
    model: str = "structured_vae_photos64",
    samples: int | None = None,
    steps: int = 300,
    tile: int = 1024,
    seed: int = 0,
    device: str = "cpu",
    force: bool = False,
    quiet: bool = True,
    tell: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Restore a picture file, telling what is done line by line; returns the summary.

    Writes `estimate.png`, and from a method that knows them `std.png` and `sample_1.png`...; last
    `summary.json`, which says how they were made and what white in `std.png` stands for. Options
    are those of `course restore`; sigma is in grey levels of 255.

    Raises:
        CourseError: an option that does not fit, or a file that cannot be read.
    """
    start = time.perf_counter()
    _check_choice("--operator", operator, OPERATORS)
    _check_choice("--method", method, tuple(METHODS))
    samples = _number_of_samples(method, samples)
    _check_numbers(method, steps, weight, tile)
    _check_device(device)
    _check_out(out, force)
    picture = read_picture(path)
    size = tuple(picture.image.shape[-2:])
    if picture.cut:
        tell(f"{path.name} has 16 bits a colour; 8 of them are used.")
    factor = _factor(operator, factor)
    kernel = _kernel(operator, kernel_std, kernel_file, factor, size)
    seen = _seen(operator, mask_file, size)
    level = sigma if sigma is not None else _estimated(picture.image, seen)
    _check_sigma(level)
    told = "as given" if sigma is not None else "estimated from the file; --sigma sets it"
    tell(f"Noise: {level:.2f} grey levels ({told}).")

    vae = _model(model, device) if method not in ("wiener", "tv") else None
    exposure = Degradation(level * GREY_LEVEL, kernel, factor, seen)
    try:
        found = restore_photo(
            picture.image.to(device),
            exposure,
            method=METHODS[method],
            vae=vae,
            steps=steps,
            samples=samples,
            weight=weight,
            tile=tile,
            seed=seed,
            quiet=quiet,
        )
    except torch.OutOfMemoryError as error:
        raise CourseError(
            f"The memory of {device} does not suffice. Try a smaller --tile (now {tile}), or "
            "--device cpu."
        ) from error
    except ArithmeticError as error:
        raise CourseError(f"{error} Try --method tv, and tell us.") from error
    if found.misfit > 2:
        tell(
            f"The estimate does not explain the picture: the two differ by {found.misfit:.1f} "
            "times the noise. The kernel or --sigma may be wrong, or the prior too narrow."
        )
    summary = {
        "picture": path.name,
        "operator": operator,
        "method": METHODS[method],
        "model": model if vae is not None else None,
        "kernel_std": kernel_std,
        "kernel_file": kernel_file and kernel_file.name,
        "factor": factor,
        "mask_file": mask_file and mask_file.name,
        "sigma_in_grey_levels": level,
        "sigma_estimated": sigma is None,
        "steps": steps if vae is not None else None,
        "weight": found.weight,
        "seed": seed,
        "misfit_in_sigma": found.misfit,
        "seconds": round(time.perf_counter() - start, 1),
    }
    summary |= _write(out, found, picture, factor)
    write_atomically(out / "summary.json", json.dumps(summary, indent=2) + "\n")
    if found.std is not None:
        tell(
            f"std.png: white is {summary['std_white_in_grey_levels']} grey levels; their root mean "
            f"square is {summary['std_in_grey_levels']:.1f}."
        )
    tell(f"Written to {out} in {summary['seconds']:.0f} s.")
    return summary


def _write(out: Path, found: Restoration, picture: Picture, factor: int) -> dict[str, Any]:
    """All pictures, and what their readers must know."""
    out.mkdir(parents=True, exist_ok=True)
    bits = picture.bits if picture.alpha is None else 8
    alpha = picture.alpha
    if alpha is not None and factor > 1:
        alpha = interpolate(alpha[None], scale_factor=factor)[0]
    outside = ((found.estimate < 0) | (found.estimate > 1)).float().mean().item()
    facts: dict[str, Any] = {"clipped_part_of_estimate": outside}
    pictures = {"estimate.png": found.estimate}
    pictures |= {f"sample_{k}.png": x for k, x in enumerate(found.samples, start=1)}
    for name, image in pictures.items():
        write_picture(out / name, image, alpha=alpha, bits=bits)
    written = set(pictures)
    if found.std is not None:
        std = found.std.square().mean(0, keepdim=True).sqrt() / GREY_LEVEL
        high = np.quantile(std.cpu().numpy(), 0.995)
        white = next((level for level in WHITES if level >= high), WHITES[-1])
        write_picture(out / "std.png", std / white)
        written.add("std.png")
        facts |= {
            "std_white_in_grey_levels": white,
            "std_in_grey_levels": std.square().mean().sqrt().item(),
            "clipped_part_of_std": (std > white).float().mean().item(),
        }
    for stale in _results_in(out):
        if stale.name not in written:
            stale.unlink()
    return facts


def _results_in(out: Path) -> list[Path]:
    """The files of an earlier run."""
    names = ("estimate.png", "std.png", "sample_*.png", "summary.json")
    return [path for name in names for path in out.glob(name)]


def _check_choice(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise CourseError(f"{option}: there is {', '.join(known)}; got {value!r}.")


def _number_of_samples(method: str, samples: int | None) -> int:
    if method not in WITH_SAMPLES:
        if samples:
            raise CourseError(
                f"--samples: {method} has one answer and draws none; {', '.join(WITH_SAMPLES)} do."
            )
        return 0
    samples = 4 if samples is None else samples
    if not 0 <= samples <= DRAWS:
        raise CourseError(f"--samples: expected 0 ... {DRAWS}, got {samples}.")
    return samples


def _check_numbers(method: str, steps: int, weight: float | None, tile: int) -> None:
    if steps < 1:
        raise CourseError(f"--steps: expected 1 or more, got {steps}.")
    if tile < SMALLEST_TILE:
        raise CourseError(f"--tile: expected {SMALLEST_TILE} pixels or more, got {tile}.")
    if weight is None:
        return
    if method not in ("wiener", "tv"):
        raise CourseError(f"--weight is for wiener and tv; {method} has none.")
    if not 0 < weight < math.inf:
        raise CourseError(f"--weight: expected a positive number, got {weight}.")


def _check_device(device: str) -> None:
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch's words for what it does not have
        reason = str(error).splitlines()[0]
        raise CourseError(f"--device: {device} cannot be used ({reason}).") from error


def _check_out(out: Path, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise CourseError(f"--out: {out} is a file; give a folder.")
    if not force and (old := _results_in(out)):
        raise CourseError(
            f"{out} holds results already ({old[0].name}). Give another --out, or replace them "
            "with --force."
        )


def _check_sigma(sigma: float) -> None:
    low, high = SIGMAS
    if not low <= sigma <= high:
        hint = f" If you mean {sigma:g} for images in [0, 1], write --sigma {255 * sigma:.3g}."
        raise CourseError(
            f"--sigma: expected the standard deviation of the noise in grey levels of 255, from "
            f"{low:g} to {high:g}, got {sigma:g}.{hint if 0 < sigma < low else ''}"
        )


def _factor(operator: str, factor: int | None) -> int:
    if operator != "super-resolution":
        if factor is not None:
            raise CourseError(f"--factor is for super-resolution, not for {operator}.")
        return 1
    if factor is None or not 2 <= factor <= 8:
        given = "none" if factor is None else factor
        raise CourseError(f"--factor: super-resolution needs 2 ... 8, got {given}.")
    return factor


def _kernel(
    operator: str,
    std: float | None,
    file: Path | None,
    factor: int,
    size: tuple[int, int],
) -> Tensor | None:
    """The blur; for super-resolution without one, the prefilter of bicubic resizing."""
    if operator in ("inpaint", "denoise"):
        if std is not None or file is not None:
            raise CourseError(f"A kernel is for deblur and super-resolution, not for {operator}.")
        return None
    if std is not None and file is not None:
        raise CourseError("Give --kernel-std or --kernel, not both.")
    if operator == "deblur" and std is None and file is None:
        raise CourseError(
            "deblur needs the blur: --kernel-std 1.5 for a Gaussian of 1.5 pixels, or --kernel "
            "with a picture or a .npy file of the point-spread function."
        )
    if std is not None and not 0 < std <= max(size):
        raise CourseError(f"--kernel-std: expected pixels, more than 0, got {std:g}.")
    if std is not None:
        kernel = gaussian_kernel(std)
    elif file is not None:
        kernel = _kernel_from(file)
    else:
        kernel = bicubic_kernel(factor)
    if any(k > factor * side for k, side in zip(kernel.shape[-2:], size, strict=True)):
        raise CourseError(
            f"The kernel has {kernel.shape[-2]} x {kernel.shape[-1]} pixels, more than the picture."
        )
    return kernel


def _kernel_from(file: Path) -> Tensor:
    """A file's numbers, 0 or more, divided by their sum; the centre is that of the array."""
    if file.suffix == ".npy":
        try:
            numbers = np.load(file, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise CourseError(f"--kernel: {file} cannot be read ({error}).") from error
    else:
        numbers = read_picture(file).image.mean(0).numpy()
    kernel = torch.as_tensor(np.asarray(numbers, dtype=np.float32))
    if kernel.ndim != 2 or not kernel.isfinite().all() or kernel.min() < 0 or kernel.sum() == 0:
        raise CourseError(
            f"--kernel: expected a plane of numbers >= 0 that are not all zero in {file}, got "
            f"shape {tuple(kernel.shape)}."
        )
    return (kernel / kernel.sum())[None, None]


def _seen(operator: str, file: Path | None, size: tuple[int, int]) -> Tensor | None:
    """The mask: white, or anything brighter than middle grey, is seen."""
    if file is None:
        if operator == "inpaint":
            raise CourseError("inpaint needs --mask: a picture, white where yours is intact.")
        return None
    mask = read_picture(file).image.mean(0, keepdim=True)
    if tuple(mask.shape[-2:]) != size:
        raise CourseError(
            f"--mask: {file} has {mask.shape[-2]} x {mask.shape[-1]} pixels, the picture "
            f"{size[0]} x {size[1]}."
        )
    seen = mask > 0.5
    if not seen.any():
        raise CourseError(
            f"--mask: {file} is black all over; white says where the picture is seen."
        )
    return seen


def _estimated(image: Tensor, seen: Tensor | None) -> float:
    """The noise of a picture in grey levels, from its finest wavelets; at least its rounding."""
    if seen is not None:
        raise CourseError(
            "With a mask the noise cannot be estimated: give --sigma in grey levels of 255, such "
            "as --sigma 2 for a clean scan."
        )
    if min(image.shape[-2:]) < 16:
        raise CourseError("A picture this small does not show its noise: give --sigma.")
    found = estimate_sigma(image.numpy(), channel_axis=0, average_sigmas=True)
    return max(float(found) / GREY_LEVEL, ROUNDING)


def _model(name: str, device: str) -> nn.Module:
    card = read_card(name)
    if card["architecture"] not in CONVOLUTIONAL or card["arguments"].get("img_size", [1])[0] != 1:
        known = [
            other for other in available() if read_card(other)["architecture"] in CONVOLUTIONAL
        ]
        raise CourseError(
            f"--model: {name} does not draw grey images of any size; take one of "
            f"{', '.join(known)}."
        )
    return load_pretrained(name, device)
