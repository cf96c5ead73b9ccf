"""Numbers are contracts: every figure that the book quotes is a stored measurement.

Experiments (`course_lib/experiments/<slug>.py`) compute, `course results <chapter> --store` writes
`book/results/<chapter>.json`, chapters read it with `load_results`, and a test recomputes what is
cheap.
"""

from course_lib.results.contract import Result, Results, load_results, store_results
from course_lib.results.registry import (
    Experiment,
    budget,
    compare,
    compute,
    experiment,
    experiments,
)
from course_lib.results.table import Table
