"""Experiments: the code behind the stored numbers, registered by chapter and imported on demand."""

import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib import import_module, metadata
from importlib.util import find_spec

from joblib import cpu_count

from course_lib.data.real import Decoding, load_real
from course_lib.project import CourseError
from course_lib.results.result import Result

BUDGETS = ("smoke", "class", "full")
BUNDLED = "bundled_"  # names of numbers of the class budget that stand beside full ones
_REGISTRY: dict[str, dict[str, "Experiment"]] = {}


@dataclass(frozen=True)
class Experiment:
    """A function `run(budget) -> list[Result]`; a cheap one is recomputed by the tests.

    One `on_photographs` needs, at the full budget, the photographs of BSDS500, and takes the
    bundled ones at other budgets.
    """

    chapter: str
    name: str
    run: Callable[[str], list[Result]]
    cheap: bool
    on_photographs: bool = False


def budget(default: str = "class") -> str:
    """How much to compute, from COURSE_BUDGET: smoke (tests), class (notebooks), full (tables)."""
    value = os.environ.get("COURSE_BUDGET", default)
    if value not in BUDGETS:
        raise CourseError(f"COURSE_BUDGET must be one of {', '.join(BUDGETS)}, got {value!r}.")
    return value


def experiment(chapter: str, *, cheap: bool = False, on_photographs: bool = False) -> Callable:
    """Register the decorated function as an experiment of a chapter, named "03_tychonov_wiener"."""

    def register(run: Callable[[str], list[Result]]) -> Callable[[str], list[Result]]:
        name = run.__name__
        _REGISTRY.setdefault(chapter, {})[name] = Experiment(
            chapter, name, run, cheap, on_photographs
        )
        return run

    return register


def experiments(chapter: str) -> list[Experiment]:
    """The experiments of a chapter, in the order of `course_lib/experiments/<slug>.py`."""
    module = f"course_lib.experiments.{chapter.split('_', 1)[-1]}"
    if find_spec(module) is not None:
        import_module(module)
    return list(_REGISTRY.get(chapter, {}).values())


def check_photographs(chosen: Iterable[Experiment], budget: str) -> None:
    """Refuse, before any work, experiments whose photographs are missing.

    Raises:
        CourseError: the photographs of BSDS500 are not in COURSE_DATA_DIR.
    """
    if budget == "full" and any(experiment.on_photographs for experiment in chosen):
        load_real("bsds500_each", None, "test", 1, Decoding(progress=False))


def compute(chosen: Experiment, budget: str) -> list[Result]:
    """Run one experiment and write its provenance on every number.

    What a test recomputes must not need photographs that do not come with the course: a cheap
    experiment on photographs adds, to its full numbers, those on the bundled ones (`on_bundled`).
    """
    found = _stamped(chosen, budget)
    if budget == "full" and chosen.cheap and chosen.on_photographs:
        found += on_bundled(chosen)
    return found


def on_bundled(chosen: Experiment) -> list[Result]:
    """The numbers of an experiment at the class budget, named "bundled_...", for its test.

    Their command is that of the full numbers, which stores both.
    """
    command = command_of(chosen, "full")
    return [
        replace(r, name=f"{BUNDLED}{r.name}", command=command) for r in _stamped(chosen, "class")
    ]


def command_of(chosen: Experiment, budget: str) -> str:
    """The command that stores the numbers of an experiment at a budget."""
    prefix = "" if budget == "full" else f"COURSE_BUDGET={budget} "
    return f"{prefix}course results {chosen.chapter} --store"


def _stamped(chosen: Experiment, budget: str) -> list[Result]:
    provenance = {
        "experiment": chosen.name,
        "budget": budget,
        "command": command_of(chosen, budget),
        "machine": machine(),
    }
    return [replace(result, **provenance) for result in chosen.run(budget)]


def machine() -> str:
    """This machine in words that say nothing private: cores, architecture, version of torch."""
    torch_version = metadata.version("torch").split("+")[0]
    return f"{cpu_count()} cores, {platform.machine()}, torch {torch_version}"
