"""What a chapter costs, as measured when it was last executed: `book/results/budgets.json`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from course_lib.project import course_root, write_atomically


@dataclass(frozen=True)
class Budget:
    """One run of a chapter's kernel, from its start to its last cell."""

    cpu_seconds: float
    wall_seconds: float
    peak_memory_mb: float
    machine: str

    def differs_from(self, stored: "Budget | None") -> bool:
        """True when CPU time or memory moved by more than a quarter (of at least 2 s or 100 MB)."""
        return stored is None or any(
            abs(new - old) > 0.25 * max(old, floor)
            for new, old, floor in (
                (self.cpu_seconds, stored.cpu_seconds, 2),
                (self.peak_memory_mb, stored.peak_memory_mb, 100),
            )
        )


@dataclass(frozen=True)
class BudgetCard:
    """What the reader sees at the head of a chapter."""

    budget: Budget | None

    def __str__(self) -> str:
        if self.budget is None:
            return "Budget: not measured yet"
        b = self.budget
        return (
            f"Budget: {b.cpu_seconds:.0f} s of CPU time, {b.wall_seconds:.0f} s by the clock, "
            f"{b.peak_memory_mb:.0f} MB of memory ({b.machine})"
        )

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return f"*{self}*"

    def _repr_html_(self) -> str:
        return f'<p class="budget-card">{self}</p>'


def budget_card(chapter: str) -> BudgetCard:
    """The measured cost of a chapter, named "03_tychonov_wiener", if there is one yet."""
    return BudgetCard(load_budgets().get(chapter))


def load_budgets() -> dict[str, Budget]:
    """All stored budgets, by chapter name."""
    path = _path()
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {chapter: Budget(**fields) for chapter, fields in stored.items()}


def store_budget(chapter: str, budget: Budget) -> None:
    """Replace the stored budget of one chapter."""
    budgets = load_budgets() | {chapter: budget}
    document = {name: asdict(budgets[name]) for name in sorted(budgets)}
    write_atomically(_path(), json.dumps(document, indent=1) + "\n")


def _path() -> Path:
    return course_root() / "book" / "results" / "budgets.json"
