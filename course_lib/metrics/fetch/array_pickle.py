"""Pickles of dictionaries of numpy arrays, read without running what else a pickle may ask for."""

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from course_lib.project import CourseError

_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class ArrayUnpickler(pickle.Unpickler):
    """Makes plain containers and numpy arrays; any other name in the pickle is refused."""

    def find_class(self, module: str, name: str) -> Callable:
        """What numpy needs to rebuild an array.

        Raises:
            CourseError: any other name.
        """
        if (module, name) not in _ALLOWED:
            raise CourseError(
                f"The file of weights asks for {module}.{name}, which is no array. It was not "
                "loaded, since that could run any code; nothing was written."
            )
        return _ALLOWED[module, name]


def read_arrays(content: bytes) -> dict[str, np.ndarray]:
    """Arrays of nested dictionaries by their path, as in "AlexNet_0/Conv_0/bias".

    Raises:
        CourseError: a damaged pickle, or one that holds or asks for anything but arrays.
    """
    try:
        return dict(_leaves(ArrayUnpickler(io.BytesIO(content)).load(), ""))
    except (pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError) as error:
        raise CourseError(f"The file of weights is damaged ({error}).") from error


def _leaves(node: Any, path: str) -> list[tuple[str, np.ndarray]]:
    if isinstance(node, np.ndarray) and node.dtype.kind == "f":
        return [(path, node)]
    if not isinstance(node, dict):
        raise ValueError(f"{path or 'its root'} is a {type(node).__name__}")
    parts = [_leaves(value, f"{path}/{key}" if path else str(key)) for key, value in node.items()]
    return [leaf for part in parts for leaf in part]
