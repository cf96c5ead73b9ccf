"""The log of a run, one line of figures every few steps, and its progress bar."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from course_lib.project import write_atomically
from course_lib.training.settings import Settings


class Progress:
    """Averages the figures of `log_every` steps and writes them as one line of `log.jsonl`.

    JSON lines rather than a table: figures may differ from line to line (steps without a finite
    loss have none), and a line can be added without reading the others.

    Args:
        path: file of the log. It is written anew from the saved lines, which drops those of steps
            that a resumed run is about to repeat.
        settings: numbers of the run.
        step: number of steps that are done.
        saved: what `state` returned then; None at the start.
        write: whether this process writes the file.
        show: whether it draws a bar, if there is a terminal.
    """

    def __init__(
        self,
        path: Path,
        settings: Settings,
        step: int,
        saved: Mapping[str, Any] | None,
        *,
        write: bool,
        show: bool,
    ) -> None:
        saved = saved or {"seconds": 0.0, "history": [], "window": _empty_window()}
        self.path, self.settings, self.write = path, settings, write
        self.history, self.window = list(saved["history"]), dict(saved["window"])
        self.mark = (step, time.perf_counter())
        self.start = self.mark[1] - saved["seconds"]
        if write:
            write_atomically(path, "".join(json.dumps(line) + "\n" for line in self.history))
        self.bar = tqdm(
            total=settings.steps,
            initial=step,
            unit="step",
            dynamic_ncols=True,
            disable=None if show else True,
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    @property
    def seconds(self) -> float:
        """Time spent since the start of the run, without the pauses between resumptions."""
        return time.perf_counter() - self.start

    def state(self) -> dict[str, Any]:
        """Entries of the saved run that belong to the log."""
        return {"seconds": self.seconds, "history": self.history, "window": self.window}

    def add(self, step: int, figures: dict[str, float] | None, skipped: int) -> None:
        """Take in the figures of one step (None: it was skipped); `step` counts those done."""
        if figures is not None:
            self.window["count"] += 1
            sums = self.window["sums"]
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value
        self.bar.update()
        if step % self.settings.log_every == 0 or step == self.settings.steps:
            self._log(step, skipped)

    def _log(self, step: int, skipped: int) -> None:
        first, since = self.mark
        self.mark = (step, time.perf_counter())
        rate = (step - first) * self.settings.batch_size / (self.mark[1] - since)
        means = {name: s / self.window["count"] for name, s in self.window["sums"].items()}
        self.window = _empty_window()
        line = {
            "step": step,
            **means,
            "learning_rate": self.settings.learning_rate_at(step - 1),
            "samples_per_second": round(rate, 2),
            "skipped": skipped,
        }
        self.history.append(line)
        if self.write:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        losses = {name: f"{value:.4g}" for name, value in means.items() if name.startswith("loss")}
        self.bar.set_postfix({**losses, "samples/s": f"{rate:.0f}"}, refresh=False)


def _empty_window() -> dict[str, Any]:
    """Sums of figures over the steps since the last line."""
    return {"count": 0, "sums": {}}
