"""Numbers computed again: which experiments, kept through an interruption, merged into the file.

A number is kept in `runs/results` as soon as its experiment ends, so that a command which was
killed goes on where it stopped. What was kept is used only by the same code, budget and folder of
photographs, and is removed once the command has reported on it.
"""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from pathlib import Path

from course_lib.project import CourseError, course_root, write_atomically
from course_lib.results.registry import BUNDLED, Experiment, compute, experiments
from course_lib.results.result import Result
from course_lib.results.storage import (
    SCHEMA,
    load_results,
    parse_results,
    results_path,
    store_results,
)

PACKAGE = Path(__file__).resolve().parents[1]


def choose(chapters: Iterable[str], only: Iterable[str] = ()) -> dict[str, list[Experiment]]:
    """The experiments of chapters, by chapter; with `only`, those of these names.

    Raises:
        CourseError: a name of `only` that no chapter has.
    """
    known = {chapter: experiments(chapter) for chapter in chapters}
    only = list(only)
    names = {experiment.name for found in known.values() for experiment in found}
    if unknown := [name for name in only if name not in names]:
        raise CourseError(
            f"No experiment {', '.join(unknown)} in {', '.join(known) or 'no chapter'}. "
            f"There are: {', '.join(sorted(names)) or 'none'}."
        )
    if not only:
        return known
    chosen = {
        chapter: [experiment for experiment in found if experiment.name in only]
        for chapter, found in known.items()
    }
    return {chapter: found for chapter, found in chosen.items() if found}


def recompute(
    chosen: Experiment, budget: str, run: Callable[[Experiment, str], list[Result]] = compute
) -> list[Result]:
    """The numbers of an experiment: those of an interrupted command, or computed and kept.

    Args:
        chosen: the experiment.
        budget: smoke, class or full.
        run: what computes.
    """
    path = _kept_path(chosen, budget)
    if path.exists():
        text = path.read_text(encoding="utf-8")
        if json.loads(text).get("conditions") == conditions():
            return list(parse_results(text, where=path.name).values())
    results = run(chosen, budget)
    document = {
        "schema": SCHEMA,
        "chapter": chosen.chapter,
        "conditions": conditions(),
        "results": [asdict(result) for result in results],
    }
    write_atomically(path, json.dumps(document, allow_nan=False))
    return results


def forget(chosen: Iterable[Experiment], budget: str) -> None:
    """Remove what was kept of experiments: they have been reported, the next command computes."""
    for experiment in chosen:
        _kept_path(experiment, budget).unlink(missing_ok=True)


def stored_of(chapter: str, chosen: Iterable[Experiment]) -> list[Result]:
    """The stored numbers of a chapter but for those of its other experiments."""
    if not results_path(chapter).exists():
        return []
    others = _others(chapter, chosen)
    return [r for r in load_results(chapter).values() if r.experiment not in others]


def check_budget(chapter: str, chosen: Iterable[Experiment], budget: str) -> None:
    """Refuse, before any work, to store numbers beside others of another budget.

    Raises:
        CourseError: the numbers that stay were stored at another budget.
    """
    others = _others(chapter, chosen)
    stored = load_results(chapter).values() if others and results_path(chapter).exists() else ()
    stays = [r for r in stored if r.experiment in others and not r.name.startswith(BUNDLED)]
    if mixed := {r.budget for r in stays} - {budget}:
        raise CourseError(
            f"{chapter} is stored at the budget {', '.join(sorted(mixed))}; numbers computed at "
            f"{budget} cannot stand beside these. Set COURSE_BUDGET, or leave out --only."
        )


def merge(chapter: str, chosen: Iterable[Experiment], measured: list[Result]) -> Path:
    """Store new numbers of some experiments; those of the chapter's others stay as they are.

    Numbers stand in the order of the experiments; those of an experiment that is gone are left out.
    """
    others = _others(chapter, chosen)
    stored = load_results(chapter).values() if others and results_path(chapter).exists() else ()
    together = [*(r for r in stored if r.experiment in others), *measured]
    order = [experiment.name for experiment in experiments(chapter)]
    return store_results(chapter, sorted(together, key=lambda r: order.index(r.experiment)))


def _others(chapter: str, chosen: Iterable[Experiment]) -> set[str]:
    """Names of the experiments of a chapter that are not among the chosen."""
    return {e.name for e in experiments(chapter)} - {e.name for e in chosen}


@cache
def conditions() -> str:
    """Digest of what numbers depend on: the code, the cards of weights, the photographs' folder."""
    digest = sha256(os.environ.get("COURSE_DATA_DIR", "").encode())
    for path in sorted(p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".json")):
        digest.update(str(path.relative_to(PACKAGE)).encode() + path.read_bytes())
    return digest.hexdigest()


def _kept_path(chosen: Experiment, budget: str) -> Path:
    name = f"{chosen.name}.{budget}.json"
    return course_root() / "runs" / "results" / chosen.chapter / name
