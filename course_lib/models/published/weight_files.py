"""Weights that others have published: read without running their code, and never in part."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from course_lib.project import CourseError

Model = TypeVar("Model", bound=nn.Module)
LFS_START = b"version https://git-lfs.github.com/spec/"
# What torch.load raises when it reads nonsense; UnpicklingError also when a file asks for code.
DAMAGES = (EOFError, RuntimeError, ValueError, LookupError)


class KeyReport(NamedTuple):
    """Differences between the names and shapes in a file and those of a model."""

    missing: list[str]  # the model has them, the file does not
    unexpected: list[str]  # the other way round
    mismatched: list[str]  # both have them, with the shapes given here

    def __str__(self) -> str:
        parts = [
            f"{len(names)} {kind}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
            for kind, names in self._asdict().items()
            if names
        ]
        return "; ".join(parts) if parts else "all names and shapes agree"


def load_state(
    path: Path,
    *,
    key: str | None = None,
    strip: Sequence[str] = ("module.",),
    prefix: str | None = None,
) -> dict[str, Tensor]:
    """The tensors of a file that `torch.save` wrote, by name, on the CPU.

    A pickle can hold any code; this reads tensors and plain containers only.

    Args:
        path: the file.
        key: the entry that holds the weights, where the file is a dictionary of several things
            ("state_dict" in most).
        strip: beginnings of names to drop; `module.` is what parallel training leaves.
        prefix: keep only names that begin with this, without it: a part of a larger model.

    Raises:
        CourseError: no such file, a pointer of Git LFS in its place, a damaged file, one that
            would run code, or one without the entry or the prefix.
    """
    check_file(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CourseError(
            f"{path} is damaged or holds more than tensors. It was not loaded, since that could "
            f"run any code: {str(error).partition(chr(10))[0]}"
        ) from error
    except DAMAGES as error:
        reason = str(error).partition("\n")[0]
        raise CourseError(f"{path} is damaged ({reason}). Fetch it again.") from error
    state = _tensors(path, _entry(path, content, key))
    for start in strip:
        state = _renamed(path, {name: name.removeprefix(start) for name in state}, state)
    if prefix is not None:
        kept = {n: n.removeprefix(prefix) for n in state if n.startswith(prefix)}
        if not kept:
            raise CourseError(f"{path}: no name begins with {prefix!r}. There are: {_some(state)}.")
        state = _renamed(path, kept, state)
    return state


def compare(model: nn.Module, state: Mapping[str, Tensor]) -> KeyReport:
    """Differences between a model and these weights."""
    own = model.state_dict()
    return KeyReport(
        [name for name in own if name not in state],
        [name for name in state if name not in own],
        [
            f"{name} {tuple(value.shape)}, the model has {tuple(own[name].shape)}"
            for name, value in state.items()
            if name in own and value.shape != own[name].shape
        ],
    )


def load_whole(model: Model, state: Mapping[str, Tensor], source: str) -> Model:
    """Put weights into a model of exactly their names and shapes; evaluation mode, frozen.

    Raises:
        CourseError: a name is missing or left over, or has another shape. The model is untouched.
    """
    report = compare(model, state)
    if any(report):
        raise CourseError(
            f"{source} does not fit this {type(model).__name__}. {report}. Build the model in the "
            "configuration that it was trained in."
        )
    model.load_state_dict(dict(state))
    return model.eval().requires_grad_(False)


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is only the note that Git LFS leaves in place of a large one."""
    with path.open("rb") as file:
        return file.read(len(LFS_START)) == LFS_START


def check_file(path: Path, hint: str = "") -> None:
    """Refuse a path without a file, or with the note that Git LFS leaves in place of a large one.

    Args:
        hint: where the file comes from.
    """
    if not path.is_file():
        raise CourseError(
            f"There is no file {path}. It is not part of the course: fetch it first.{hint}"
        )
    if is_lfs_pointer(path):
        lines = path.read_text(encoding="utf-8").splitlines()
        fields = dict(line.split(" ", 1) for line in lines if " " in line)
        raise CourseError(
            f"{path} is a pointer of Git LFS, not the file itself: {fields.get('size', '?')} "
            f"bytes, sha256 {fields.get('oid', '?').removeprefix('sha256:')}. Fetch the file with "
            "`git lfs pull` in its repository."
        )


def _entry(path: Path, content: Any, key: str | None) -> Any:
    if key is None:
        return content
    if not isinstance(content, dict) or key not in content:
        known = _some(content) if isinstance(content, dict) else type(content).__name__
        raise CourseError(f"{path} has no entry {key!r}. There is: {known}.")
    return content[key]


def _tensors(path: Path, content: Any) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        raise CourseError(f"{path}: expected weights by name, got {type(content).__name__}.")
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise CourseError(
            f"{path}: expected tensors only, but {', '.join(others[:5])} are none. If one of them "
            "holds the weights, name it with key=."
        )
    return dict(content)


def _renamed(path: Path, names: Mapping[str, str], state: Mapping[str, Tensor]) -> dict:
    if len(set(names.values())) < len(names):
        raise CourseError(f"{path}: two names become one when their beginnings are dropped.")
    return {new: state[old] for old, new in names.items()}


def _some(names: Mapping[str, Any]) -> str:
    shown = [str(name) for name in names][:5]
    return ", ".join(shown) + (", ..." if len(names) > 5 else "")
