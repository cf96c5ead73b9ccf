"""Numbers are contracts: a measured figure that the book quotes is stored with its provenance.

Experiments (`course_lib/experiments/<slug>.py`) compute, `course results <chapter> --store` writes
`book/results/<chapter>.json`, and chapters read it with `load_results`. The tests recompute what
takes seconds, `course results --all` everything; `census` counts both.
"""

from course_lib.results.census import Census, census, recomputed_by_tests
from course_lib.results.recomputation import (
    check_budget,
    choose,
    forget,
    merge,
    recompute,
    stored_of,
)
from course_lib.results.registry import (
    Experiment,
    budget,
    check_photographs,
    compute,
    experiment,
    experiments,
    machine,
    on_bundled,
)
from course_lib.results.result import Change, Result, Results, compare
from course_lib.results.storage import load_results, results_path, store_results, stored_names
from course_lib.results.table import Table

__all__ = [
    "Census",
    "Change",
    "Experiment",
    "Result",
    "Results",
    "Table",
    "budget",
    "census",
    "check_budget",
    "check_photographs",
    "choose",
    "compare",
    "compute",
    "experiment",
    "experiments",
    "forget",
    "load_results",
    "machine",
    "merge",
    "on_bundled",
    "recompute",
    "recomputed_by_tests",
    "results_path",
    "store_results",
    "stored_names",
    "stored_of",
]
