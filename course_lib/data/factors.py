"""Factors of rendered images: named numbers, one entry an image, drawn from ranges."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

Range = tuple[float, float]
Some = TypeVar("Some", bound="Factors")


class Factors:
    """Base of frozen dataclasses whose tensors have one entry an image; numbers are shared."""

    if TYPE_CHECKING:  # fields that a subclass takes from its table of ranges

        def __getattr__(self, name: str) -> Tensor: ...

    def __len__(self) -> int:
        return len(next(v for v in vars(self).values() if isinstance(v, Tensor)))

    def __getitem__(self: Some, rows: slice | list[int] | Tensor) -> Some:
        """Some of the images, in the order asked for: a slice, a list of positions, or a mask."""
        return self.map(lambda values: values[rows])

    def map(self: Some, change: Callable[[Tensor], Tensor]) -> Some:
        """The same factors with each tensor changed."""
        values = vars(self).items()
        changed = {k: change(v) if isinstance(v, Tensor) else v for k, v in values}
        return type(self)(**changed)


def check_index(caller: str, index: Tensor) -> None:
    """Refuse what is not a vector of non-negative integers."""
    whole = not (index.is_floating_point() or index.is_complex() or index.dtype == torch.bool)
    if not whole or index.ndim != 1 or (index < 0).any():
        raise ValueError(
            f"{caller}: expected index of shape (B,) with non-negative integers, got "
            f"{tuple(index.shape)} of {index.dtype}. Use torch.arange(B)."
        )


def in_ranges(ranges: Mapping[str, Range], uniform: Sequence[Tensor]) -> dict[str, Tensor]:
    """Uniform draws in [0, 1), scaled to the range of each factor."""
    return {
        name: low + (high - low) * u
        for (name, (low, high)), u in zip(ranges.items(), uniform, strict=True)
    }
