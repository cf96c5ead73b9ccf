"""Pickles read without running their code: tensors, numbers and plain containers come out.

EDM's files carry the source code of their classes, which the usual way to load them executes.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._utils import _rebuild_parameter, _rebuild_tensor_v2

from course_lib.project import CourseError


class Saved:
    """In place of an object of a pickle: the name of its class, and its state."""

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
        """The stand-in for a name.

        Raises:
            CourseError: a name that is not in the table.
        """
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
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch.storage", "_load_from_bytes"): _storage,
}


def read_pickle(path: Path) -> Any:
    """The content of a file, with `Saved` in the place of objects.

    Raises:
        CourseError: a damaged file, or one that asks for anything but tensors and containers.
    """
    try:
        with path.open("rb") as file:
            return RestrictedUnpickler(file).load()
    except (pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError) as error:
        raise CourseError(
            f"{path} is damaged, or not a pickle ({error}). Fetch it again."
        ) from error
