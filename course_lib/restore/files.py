"""A picture file in, a folder of results out.

Refusals and notes name an option in backticks, such as `sigma`; a command or a window puts its own
name in that place.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from course_lib.data.picture_files import read_picture
from course_lib.project import CourseError
from course_lib.restore.photographs import Method, restore_photo
from course_lib.restore.reports import check_folder, write_report
from course_lib.restore.task import GREY_LEVEL, Task


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
