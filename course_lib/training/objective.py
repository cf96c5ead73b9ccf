"""What a training minimises."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Generator, Tensor, nn

from course_lib.protocols import Batch


class Objective:
    """What is minimised. A subclass sets `model` and writes `loss`; the rest has defaults.

    Everything that a run must remember belongs into `model`, as a parameter or a buffer: it is
    what is saved. The average of the weights takes buffers as they are.
    """

    model: Any  # an nn.Module of the kind that the objective asks for

    def players(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """The parameters of each optimiser, updated in this order. A GAN has two players."""
        return {"model": list(self.model.parameters())}

    def loss(
        self, player: str, batch: Batch, *, done: float, generator: Generator
    ) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """The loss of a player, a mean over the batch, and further such means for the log.

        Args:
            player: a key of `players`.
            batch: samples, on the device of the model.
            done: fraction of the steps that are done, in [0, 1).
            generator: source of all randomness, on the device of the model.
        """
        raise NotImplementedError

    def after_step(self, figures: dict[str, float]) -> None:
        """Use the figures of the joint batch, the same on every process, after an update."""

    def preview(self, model: nn.Module) -> Tensor | None:
        """Images (N, C, H, W) for the contact sheet, made by the averaged model; or None."""
        return None
