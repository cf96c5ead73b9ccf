"""The numbers of a training run, its schedules, and the seeds of its draws."""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import cos, pi
from typing import Literal

import numpy as np
import torch
from torch import Generator, Tensor

Precision = Literal["auto", "float32", "bfloat16"]

# What a resumed run may change: how often something is written, not what is computed.
FREE = ("save_every", "log_every", "sheet_every")


@dataclass(frozen=True)
class Settings:
    """What determines a run, next to its objective and its data.

    Args:
        steps: number of updates.
        batch_size: number of images in the joint batch of a step, over all shards and processes.
        shards: number of equal parts in which the joint batch is computed, their gradients
            summed. With several processes each takes its share; 1 then means one per process.
        learning_rate: step size of Adam after `warm_up` steps of linear growth (no more than half
            of all steps); then it falls to zero along a cosine.
        betas: decay rates of Adam's two averages.
        weight_decay: decoupled decay rate (AdamW); 0 is plain Adam.
        warm_up: number of steps of linear growth.
        ema_decay: the averaged weights move by 1 - min(ema_decay, (1 + t) / (10 + t)) at step t.
        clip_norm: largest Euclidean norm of the gradient, which is shortened to it.
        skip_norm: norm of the gradient above which an update is skipped, as one with a loss or
            gradient that is not finite; None for no limit.
        precision: "auto" computes in bfloat16 where the hardware multiplies in it (autocast:
            the weights stay float32), in float32 elsewhere.
        seed: seed of the order of the data and of the draws in the loss.
        save_every, sheet_every, log_every: numbers of steps.

    Raises:
        ValueError: a number out of its range, or a batch that does not split into equal shards.

    Source: Loshchilov & Hutter 2019, arXiv:1711.05101 (AdamW); 2017, arXiv:1608.03983 (cosine).
    """

    steps: int
    batch_size: int = 32
    shards: int = 1
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 1e-4
    warm_up: int = 150
    ema_decay: float = 0.9995
    clip_norm: float = 1.0
    skip_norm: float | None = None
    precision: Precision = "auto"
    seed: int = 0
    save_every: int = 200
    sheet_every: int = 1000
    log_every: int = 50

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "shards", *FREE):
            if getattr(self, name) < 1:
                raise ValueError(f"Settings: {name} must be at least 1, got {getattr(self, name)}.")
        for name in ("learning_rate", "weight_decay", "warm_up", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"Settings: {name} must be at least 0, got {getattr(self, name)}.")
        for name in ("clip_norm", "skip_norm"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ValueError(f"Settings: {name} must be positive, got {getattr(self, name)}.")
        for name, value in (("ema_decay", self.ema_decay), *(("betas", b) for b in self.betas)):
            if not 0 <= value < 1:
                raise ValueError(f"Settings: {name} must be in [0, 1), got {value}.")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(
                f"Settings: precision must be auto, float32 or bfloat16, got {self.precision!r}."
            )
        if self.batch_size % self.shards:
            raise ValueError(
                f"Settings: a batch of {self.batch_size} does not split into {self.shards} equal "
                "shards; make batch_size a multiple of shards."
            )

    def for_processes(self, size: int) -> "Settings":
        """The same run on `size` processes: at least one shard each.

        Raises:
            ValueError: the shards do not split evenly among the processes.
        """
        shards = size if self.shards == 1 else self.shards
        if shards % size:
            raise ValueError(
                f"Settings: {shards} shards do not split among {size} processes; make shards a "
                "multiple of the number of processes."
            )
        return replace(self, shards=shards)

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of update `step`, which counts from 0."""
        warm_up = min(self.warm_up, self.steps // 2)
        if step < warm_up:
            return self.learning_rate * (step + 1) / warm_up
        return self.learning_rate * (1 + cos(pi * (step - warm_up) / (self.steps - warm_up))) / 2

    def ema_decay_at(self, step: int) -> float:
        """Decay of the average at `step`: short memory at first, to forget the first weights."""
        return min(self.ema_decay, (1 + step) / (10 + step))

    def indices(self, step: int, n: int) -> Tensor:
        """Numbers of the samples that update `step` sees, (batch_size,): all n in each epoch."""
        position = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epoch, place = np.divmod(position, n)
        orders = [_shuffled(self.seed, int(e), n)[place[epoch == e]] for e in np.unique(epoch)]
        return torch.cat(orders)

    def generator(self, step: int, shard: int, player: int, device: torch.device) -> Generator:
        """Generator of the draws in one loss: a function of its arguments and the seed alone."""
        return Generator(device).manual_seed(_mix(self.seed, 1, step, shard, player))


@lru_cache(maxsize=2)
def _shuffled(seed: int, epoch: int, n: int) -> Tensor:
    return torch.randperm(n, generator=Generator().manual_seed(_mix(seed, 0, epoch)))


def _mix(seed: int, *key: int) -> int:
    """One well mixed seed out of several numbers."""
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)[0])
