"""What a solver returns: where it ended, whether it got there, and the way it took."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

Status = Literal["converged", "max_iter", "diverged"]


@dataclass(frozen=True)
class Solution:
    """The result of a solver on a batch of images.

    Attributes:
        x: the last iterate, (B, ...).
        status: "converged" if every image met the tolerance, "diverged" if any image left the
            finite numbers, else "max_iter".
        history: name -> (rows, B) tensor on the CPU; each solver says what its rows are. An image
            that has converged is frozen and repeats its last value.
        iterations: number of iterations that were run; 0 for a closed form.
    """

    x: Tensor
    status: Status
    history: dict[str, Tensor] = field(default_factory=dict)
    iterations: int = 0


class Recorder:
    """Collects one row per iteration and stacks them once at the end."""

    def __init__(self, *names: str) -> None:
        self.rows: dict[str, list[Tensor]] = {name: [] for name in names}

    def add(self, **values: Tensor) -> None:
        for name, value in values.items():
            self.rows[name].append(value.detach())

    def stack(self) -> dict[str, Tensor]:
        return {
            name: torch.stack(rows).cpu() if rows else torch.empty(0, 0)
            for name, rows in self.rows.items()
        }


def check_start(name: str, x: Tensor, what: str = "x0") -> None:
    """Refuse a starting point that is no batch or holds NaN or inf."""
    if x.ndim < 2:
        raise ValueError(
            f"{name}: {what} needs a leading batch axis, got shape {tuple(x.shape)}. "
            f"Use {what}.unsqueeze(0) for a single image."
        )
    # NaN and infinity survive a sum, which is ten times cheaper than a look at every value.
    if not x.sum().isfinite() and not x.isfinite().all():
        bad = (~x.isfinite()).sum().item()
        raise ValueError(
            f"{name}: {what} holds {bad} values that are NaN or infinite. "
            "Find where they arise before you solve."
        )


def check_measurement(name: str, op, y: Tensor) -> None:
    """Refuse a y that is no batch of measurements of op, or not finite."""
    check_start(name, y, "y")
    size = tuple(op.measurement_size)
    if tuple(y.shape[1:]) != size:
        raise ValueError(
            f"{name}: expected y of shape (B, {', '.join(map(str, size))}) for "
            f"{type(op).__name__}, got {tuple(y.shape)}."
        )


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """Reshape (B,) so that it multiplies (B, ...)."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each image of a batch: (B, ...), (B, ...) -> (B,)."""
    return (a * b).flatten(1).sum(1)


def verdict(converged: Tensor, diverged: Tensor) -> Status:
    """One word for a batch, the worst news first."""
    return "diverged" if diverged.any() else "converged" if converged.all() else "max_iter"
