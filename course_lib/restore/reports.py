"""A folder of results: pictures, and a summary of how they were made."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn.functional import interpolate

from course_lib.data.picture_files import Picture, write_picture
from course_lib.project import CourseError, write_atomically
from course_lib.restore.photographs import Restoration
from course_lib.restore.task import GREY_LEVEL

RESULT = re.compile(r"estimate\.png|std\.png|sample_\d+\.png|summary\.json")
WHITES = (1, 2, 5, 10, 20, 50, 100, 255)  # grey levels that white may stand for in std.png


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
    out: Path, found: Restoration, picture: Picture, summary: dict[str, Any]
) -> dict[str, Any]:
    """Write all pictures, then the summary, and remove what an earlier run has left.

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
    written = {*pictures, "summary.json"}
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
