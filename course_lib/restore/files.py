"""A picture file in, a folder of results out.

Refusals and notes name an option in backticks, such as `sigma`; a command or a window puts its own
name in that place.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from course_lib.data.picture_files import Picture, read_picture, write_picture
from course_lib.project import CourseError, write_atomically
from course_lib.restore.old_photos import OldPhotoRestorer
from course_lib.restore.photographs import Method, Restoration, restore_photo
from course_lib.restore.task import GREY_LEVEL, Task, read_seen

RESULT = re.compile(r"(estimate|std|sample_\d+|mask|before_after)\.png|summary\.json")
WHITES = (1, 2, 5, 10, 20, 50, 100, 255)  # grey levels that white may stand for in std.png


def restore_file(
    path: Path,
    out: Path,
    task: Task,
    method: Method,
    *,
    force: bool = False,
    progress: bool = False,
    tell: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Restore a picture file, telling what is done line by line; returns the summary.

    Writes `estimate.png`, and from a method that knows them `std.png` and `sample_1.png`...; last
    `summary.json`, which says how they were made and what white in `std.png` stands for.

    Args:
        path: PNG, JPEG or TIFF.
        out: folder of the results.
        task: what is to be undone.
        method: how; see `choose_method`.
        force: replace results in that folder.
        progress: show a bar.
        tell: takes each line.

    Raises:
        CourseError: an option that does not fit, or a file that cannot be read.
    """
    start = time.perf_counter()
    check_folder(out, force, [path, task.kernel_file, task.mask_file])
    picture = read_picture(path)
    if picture.cut:
        tell(f"{path.name} has 16 bits a colour; 8 of them are used.")
    degradation = task.degradation(picture.image)
    level = degradation.sigma / GREY_LEVEL if task.sigma is None else task.sigma
    told = "as given" if task.sigma is not None else "estimated from the file; `sigma` sets it"
    tell(f"Noise: {level:.2f} grey levels ({told}).")
    try:
        found = restore_photo(picture.image, degradation, method, progress=progress)
    except torch.OutOfMemoryError as error:
        tile = method.facts.get("tile")
        smaller = f"a smaller `tile` (now {tile}), or " if tile else ""
        raise CourseError(
            f"The memory of {method.device} does not suffice. Try {smaller}`device=cpu`."
        ) from error
    except ArithmeticError as error:
        raise CourseError(f"{error} Try `method=tv`, and tell us.") from error
    if found.data_fidelity > 2:
        tell(
            "The estimate does not explain the picture: the two differ by "
            f"{found.data_fidelity:.1f} times the noise. The kernel or `sigma` may be wrong, or "
            "the prior too narrow."
        )
    summary = {
        "picture": path.name,
        "operator": task.operator,
        **method.facts,
        "kernel_std": task.kernel_std,
        "kernel_file": task.kernel_file and task.kernel_file.name,
        "factor": degradation.factor,
        "mask_file": task.mask_file and task.mask_file.name,
        "sigma_in_grey_levels": level,
        "sigma_estimated": task.sigma is None,
        "weight": found.weight,
        "data_fidelity_in_sigma": found.data_fidelity,
        "seconds": round(time.perf_counter() - start, 1),
    }
    summary = write_report(out, found, picture, summary)
    if found.std is not None:
        tell(
            f"std.png: white is {summary['std_white_in_grey_levels']} grey levels; their root mean "
            f"square is {summary['std_in_grey_levels']:.1f}."
        )
    tell(f"Written to {out} in {summary['seconds']:.0f} s.")
    return summary


def restore_old_file(
    path: Path,
    out: Path,
    restorer: OldPhotoRestorer,
    *,
    facts: Mapping[str, str] = {},
    mask_file: Path | None = None,
    force: bool = False,
    tell: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Restore an old photograph from a file; returns the summary.

    Writes `estimate.png`, `mask.png` (white where pixels are seen, as a mask is given),
    `before_after.png`, and last `summary.json`.

    Args:
        path: PNG, JPEG or TIFF, grey or in colour, of any size.
        out: folder of the results.
        restorer: networks that find and repair the damage.
        facts: what the summary says of them.
        mask_file: picture of the same size, black where pixels are lost; found if None.
        force: replace results in that folder.
        tell: takes each line of the report.

    Raises:
        CourseError: a file that cannot be read or does not fit, or results that would be lost.
    """
    start = time.perf_counter()
    check_folder(out, force, [path, mask_file])
    picture = read_picture(path)
    seen = read_seen(mask_file, *picture.image.shape[-2:])
    found = restorer.restore(picture.image, None if seen is None else 1 - seen.float())
    lost = found.mask.mean().item()
    told = "found" if mask_file is None else "as given"
    tell(f"Damage: {lost:.1%} of the pixels ({told}). See mask.png; another one sets `mask_file`.")
    summary = {
        "picture": path.name,
        "operator": "old-photo",
        **facts,
        "factor": 1,
        "mask_file": mask_file and mask_file.name,
        "lost_part": lost,
        "seconds": round(time.perf_counter() - start, 1),
    }
    restoration = Restoration(found.estimate, found.estimate[None][:0], float("nan"))
    further = {
        "mask.png": 1 - found.mask,
        "before_after.png": torch.cat([picture.image, found.estimate.clamp(0, 1)], dim=-1),
    }
    summary = write_report(out, restoration, picture, summary, further)
    tell(f"Written to {out} in {summary['seconds']:.0f} s.")
    return summary


def check_folder(out: Path, force: bool, inputs: list[Path | None]) -> None:
    """Refuse a folder in which something would be lost.

    Raises:
        CourseError: it is a file, it holds results that may not be replaced, or one of the inputs
            lies where a result would be written.
    """
    if out.exists() and not out.is_dir():
        raise CourseError(f"`out`: {out} is a file; give a folder.")
    old = _results_in(out)
    for path in inputs:
        if path is not None and path.resolve() in [result.resolve() for result in old]:
            raise CourseError(f"`out`: a result would replace {path} itself. Give another `out`.")
    if old and not force:
        raise CourseError(
            f"{out} holds results already ({old[0].name}). Give another `out`, or replace them "
            "with `force`."
        )


def write_report(
    out: Path,
    found: Restoration,
    picture: Picture,
    summary: dict[str, Any],
    further: Mapping[str, Tensor] = {},
) -> dict[str, Any]:
    """Write all pictures, then the summary, and remove what an earlier run has left.

    Args:
        out: folder.
        found: estimate, samples, deviation.
        picture: the file that was restored.
        summary: what was done.
        further: more pictures by name, without alpha, in 8 bits.

    Returns:
        The summary, with what readers of the pictures must know.
    """
    out.mkdir(parents=True, exist_ok=True)
    alpha, factor = picture.alpha, summary["factor"]
    bits = picture.bits if alpha is None else 8
    if alpha is not None and factor > 1:
        alpha = interpolate(alpha[None], scale_factor=factor)[0]
    outside = ((found.estimate < 0) | (found.estimate > 1)).float().mean().item()
    summary = summary | {"clipped_part_of_estimate": outside}
    pictures = {"estimate.png": found.estimate}
    pictures |= {f"sample_{k}.png": x for k, x in enumerate(found.samples, start=1)}
    for name, image in pictures.items():
        write_picture(out / name, image, alpha=alpha, bits=bits)
    for name, image in further.items():
        write_picture(out / name, image)
    written = {*pictures, *further, "summary.json"}
    if found.std is not None:
        std = found.std.square().mean(0, keepdim=True).sqrt() / GREY_LEVEL
        high = np.quantile(std.cpu().numpy(), 0.995)
        white = next((level for level in WHITES if level >= high), WHITES[-1])
        write_picture(out / "std.png", std / white)
        written.add("std.png")
        summary |= {
            "std_white_in_grey_levels": white,
            "std_in_grey_levels": std.square().mean().sqrt().item(),
            "clipped_part_of_std": (std > white).float().mean().item(),
        }
    for stale in _results_in(out):
        if stale.name not in written:
            stale.unlink()
    write_atomically(out / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def _results_in(out: Path) -> list[Path]:
    """The files of an earlier run."""
    return sorted(path for path in out.glob("*") if RESULT.fullmatch(path.name))
