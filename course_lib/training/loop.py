"""The training loop of every model of the course.

Nothing in it is stateful but the weights: the data of step t and its random draws are functions of
(seed, t). So a run that was killed goes on from where it was saved and ends, on a CPU, with
exactly the weights of a run that was not (on a GPU some sums come in no fixed order).
"""

import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from math import inf, isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from course_lib.project import CourseError
from course_lib.protocols import Batch, Dataset
from course_lib.training import contact_sheet, saved_run
from course_lib.training.distributed import Group, join
from course_lib.training.objective import Objective
from course_lib.training.precision import flushed_denormals, multiplies_bfloat16
from course_lib.training.progress import Progress
from course_lib.training.settings import Settings


@dataclass(frozen=True)
class Training:
    """A finished run.

    Args:
        model: network with averaged weights, in eval mode: the one to use.
        raw: network with the weights of the last step.
        steps: number of updates, including `skipped`.
        seconds: time of computation, over all resumptions.
        skipped: number of updates left out because of a gradient that was not finite, or too long.
        history: lines of the log.
    """

    model: nn.Module
    raw: nn.Module
    steps: int
    seconds: float
    skipped: int
    history: list[dict[str, Any]]


def train(
    objective: Objective,
    dataset: Dataset,
    settings: Settings,
    folder: Path,
    *,
    device: str | torch.device = "cpu",
    progress: bool = True,
    minutes: float | None = None,
) -> Training:
    """Minimise an objective, or go on with it where `folder` holds a saved run.

    Writes `run.pt`, `log.jsonl` and contact sheets `sheet_<step>.png` into the folder. Under
    torchrun every process calls this alike, and the first one writes.

    Args:
        objective: model and loss; its model is trained in place.
        dataset: samples, which are shuffled anew in every epoch.
        settings: numbers of the run.
        folder: place of this run and of no other.
        device: where to compute.
        progress: whether to show a progress bar.
        minutes: instead of `settings.steps`, as many steps as are expected to fit into this time,
            found by timing a few on the first start.

    Raises:
        ValueError: settings that do not fit together, or an empty dataset.
        CourseError: the folder holds a damaged file, or one of another run.
    """
    if not len(dataset):
        raise ValueError("train: the dataset is empty.")
    path, timed = folder / "run.pt", minutes is not None
    group, place = join(torch.device(device))
    with flushed_denormals(place):
        settings = settings.for_processes(group.size)
        saved = saved_run.load(path) if path.exists() else None
        group.barrier()  # all have looked before the first one writes
        if saved is not None:
            asked = {"timed": timed, **saved_run.identity(objective, dataset, settings)}
            saved_run.check_same_run(path, saved, asked)
            settings = replace(settings, steps=saved["settings"]["steps"])
        elif minutes is not None:
            steps = _steps_within(minutes, _Run(objective, dataset, settings, place, group))
            settings = replace(settings, steps=steps)
        run = _Run(objective, dataset, settings, place, group)
        if saved is not None:
            run.restore(path, saved)
        group.broadcast_([*run.model.state_dict().values(), *run.average.state_dict().values()])
        log, write = folder / "log.jsonl", group.is_first
        with Progress(log, settings, run.step, saved, write=write, show=write and progress) as told:
            return _complete(run, told, path, timed)


def _complete(run: "_Run", told: Progress, path: Path, timed: bool) -> Training:
    """Take the steps that are left, and report them."""
    settings, is_first = run.settings, run.group.is_first

    def save() -> None:
        saved_run.save(path, {"timed": timed, **run.state(), **told.state()})

    if is_first and run.step == 0:
        save()  # so that the start, and the number of steps, is known to a resumed run
    while run.step < settings.steps:
        figures = run.advance()
        step, last = run.step, run.step == settings.steps
        told.add(step, figures, run.skipped)
        if is_first and (last or step % settings.sheet_every == 0):
            run.draw(path.with_name(f"sheet_{step:06d}.png"))
        if is_first and (last or step % settings.save_every == 0):
            save()
    run.group.barrier()  # no process returns before the files are there
    run.model.eval()
    return Training(run.average, run.model, run.step, told.seconds, run.skipped, told.history)


class _Run:
    """What the steps change: the weights, their average, the optimisers and two counts."""

    def __init__(
        self,
        objective: Objective,
        dataset: Dataset,
        settings: Settings,
        device: torch.device,
        group: Group,
    ) -> None:
        self.objective, self.dataset, self.settings = objective, dataset, settings
        self.device, self.group = device, group
        # Convolutions are up to twice as fast when the channels of a pixel are neighbours.
        self.model = objective.model.to(device).to(memory_format=torch.channels_last).train()
        self.average = deepcopy(self.model).requires_grad_(False).eval()
        self.weights = list(self.model.parameters())
        self.averaged_weights = list(self.average.parameters())
        self.players = {
            name: [p for p in parameters if p.requires_grad]
            for name, parameters in objective.players().items()
        }
        if not set(self.weights).issuperset(p for own in self.players.values() for p in own):
            raise ValueError(
                "train: a player has parameters outside of objective.model, which would not be "
                "saved; make them a part of the model."
            )
        self.optimisers = {
            name: torch.optim.AdamW(
                parameters,
                lr=settings.learning_rate,
                betas=settings.betas,
                weight_decay=settings.weight_decay,
                fused=device.type in ("cpu", "cuda"),
            )
            for name, parameters in self.players.items()
        }
        self.bfloat16 = settings.precision == "bfloat16" or (
            settings.precision == "auto" and multiplies_bfloat16(device)
        )
        self.identity = saved_run.identity(objective, dataset, settings)
        self.step = 0
        self.skipped = 0

    def advance(self) -> dict[str, float] | None:
        """One step: an update of each player. The figures, or None if an update was skipped."""
        figures: dict[str, float] = {}
        batches = self._batches()
        updated = [self._update(player, batches, figures) for player in self.players]
        complete = all(updated)
        self.skipped += updated.count(False)
        if complete:
            with torch.no_grad():
                self.objective.after_step(figures)
            self._move_average()
        self.step += 1
        return figures if complete else None

    def _batches(self) -> dict[int, Batch]:
        """The shards of this process."""
        shards = self.settings.indices(self.step, len(self.dataset)).chunk(self.settings.shards)
        share = self.group.share(self.settings.shards)
        return {k: _move(self.dataset[shards[k]], self.device) for k in share}

    def _update(self, player: str, batches: dict[int, Batch], figures: dict[str, float]) -> bool:
        """Gradient of the joint batch, then a step of Adam. False if it is skipped."""
        settings, parameters = self.settings, self.players[player]
        optimiser, number = self.optimisers[player], list(self.players).index(player)
        optimiser.zero_grad()
        names, rows = [], []
        for shard, batch in batches.items():
            generator = settings.generator(self.step, shard, number, self.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                loss, others = self.objective.loss(
                    player, batch, done=self.step / settings.steps, generator=generator
                )
            (loss / settings.shards).backward(inputs=parameters)
            names = [*others]
            rows.append(self._column([loss, *others.values()]) / settings.shards)
        means = torch.stack(rows).sum(0)
        self.group.sum_([*(p.grad for p in parameters if p.grad is not None), means])
        norm = clip_grad_norm_(parameters, settings.clip_norm)

        # The one place where Python waits for the device.
        loss_value, *values, length = torch.cat([means, self._column([norm])]).tolist()
        suffix = "" if len(self.players) == 1 else f"_{player}"
        figures |= {f"loss{suffix}": loss_value, **dict(zip(names, values, strict=True))}
        figures[f"gradient_norm{suffix}"] = length
        limit = inf if settings.skip_norm is None else settings.skip_norm
        if not (isfinite(loss_value) and isfinite(length) and length <= limit):
            return False
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate_at(self.step)
        optimiser.step()
        return True

    def _column(self, values: Sequence[Tensor | float]) -> Tensor:
        return torch.stack(
            [torch.as_tensor(v, device=self.device).detach().float() for v in values]
        )

    @torch.no_grad()
    def _move_average(self) -> None:
        weight = 1 - self.settings.ema_decay_at(self.step)
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            self.averaged_weights, self.weights, weight
        )
        for old, buffer in zip(self.average.buffers(), self.model.buffers(), strict=True):
            old.copy_(buffer)

    @torch.no_grad()
    def draw(self, path: Path) -> None:
        """The contact sheet of the averaged model, if the objective has one."""
        images = self.objective.preview(self.average)
        if images is not None:
            contact_sheet.save(images, path)

    def state(self) -> dict[str, Any]:
        """Entries of the saved run, apart from its log."""
        return {
            **self.identity,
            "step": self.step,
            "skipped": self.skipped,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
        }

    def restore(self, path: Path, saved: dict[str, Any]) -> None:
        """Return to where the run was saved."""
        self.step, self.skipped = saved["step"], saved["skipped"]
        try:
            self.model.load_state_dict(saved["model"])
            self.average.load_state_dict(saved["average"])
            for name, optimiser in self.optimisers.items():
                optimiser.load_state_dict(saved["optimisers"][name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CourseError(
                f"{path} holds a model of another form: {error} Build the model as it was, or "
                "choose another folder."
            ) from error


def _move(batch: Batch, device: torch.device) -> Batch:
    def place(part: Tensor) -> Tensor:
        part = part.to(device)
        return part.contiguous(memory_format=torch.channels_last) if part.ndim == 4 else part

    return tuple(map(place, batch)) if isinstance(batch, tuple) else place(batch)


def _steps_within(minutes: float, trial: _Run) -> int:
    """How many steps fit into the minutes: some are timed, and their effect undone."""
    if not minutes > 0:
        raise ValueError(f"train: minutes must be positive, got {minutes}.")
    before = deepcopy(trial.model.state_dict())
    times = []
    for _ in range(30):
        start = time.perf_counter()
        trial.advance()
        times.append(time.perf_counter() - start)
    trial.model.load_state_dict(before)
    each = sum(times[5:]) / len(times[5:])  # the first ones also compile and allocate
    steps = torch.tensor(max(1, round(60 * minutes / each)), device=trial.device)
    trial.group.broadcast_([steps])
    return int(steps)
