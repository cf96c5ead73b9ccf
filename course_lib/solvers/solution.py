"""What a solver returns: the last iterate, how the run ended, and its history."""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

Status = Literal["converged", "max_iter", "diverged"]


@dataclass(frozen=True)
class Solution:
    """The result of a solver on a batch of images.

    Attributes:
        x: last iterate, (B, ...).
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

    def without_start(self) -> "Solution":
        """The same without the rows of x_0: one row an iteration."""
        rows = {
            name: values[len(values) - self.iterations :] for name, values in self.history.items()
        }
        return replace(self, history=rows)


class History:
    """Rows (B,) under names, one an iteration, stacked once at the end."""

    def __init__(self, *names: str) -> None:
        self.rows: dict[str, list[Tensor]] = defaultdict(list, {name: [] for name in names})

    def add(self, **values: Tensor) -> None:
        """Append one row under each name."""
        for name, value in values.items():
            self.rows[name].append(value.detach())

    def stack(self) -> dict[str, Tensor]:
        """name -> (rows, B) on the CPU."""
        return {
            name: torch.stack(rows).cpu() if rows else torch.empty(0, 0)
            for name, rows in self.rows.items()
        }


def status_of(converged: Tensor, diverged: Tensor) -> Status:
    """Status of a batch; divergence takes precedence."""
    return "diverged" if diverged.any() else "converged" if converged.all() else "max_iter"
