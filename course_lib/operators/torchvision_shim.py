"""Make torchvision importable where its compiled operators do not fit the installed torch.

torchvision registers two compiled operators as soon as it is imported. Beside a CPU build of torch
its library may not load, and the import then fails with "operator torchvision::nms does not exist".
No network of this course uses them: declaring their signatures is enough. Where the library
loads, nothing is changed. Only deepinv needs torchvision; no module of the package imports it.
"""

import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec

import torch

SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # the declarations last as long as this object


def make_torchvision_importable() -> None:
    """Call it before anything imports torchvision; a second call does nothing."""
    if "torchvision" in sys.modules or hasattr(torch.ops.torchvision, "nms"):
        return
    package = find_spec("torchvision")
    if package is None:
        return
    compiled = PathFinder.find_spec("_C", package.submodule_search_locations)
    try:
        torch.ops.load_library(str(compiled.origin) if compiled else "torchvision/_C")
    except OSError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define(f"nms{SIGNATURE}")
        library.define(f"qnms{SIGNATURE}")
        _declared.append(library)
