"""The clock that the benchmarks share."""

import math
from collections.abc import Callable
from statistics import median
from time import process_time

Runs = dict[str, Callable[[], object]]


def interleaved_medians(runs: Runs, rounds: int) -> dict[str, float]:
    """Median seconds of a call on one thread.

    Competitors take turns, so a machine that is slow for a while is slow for all of them. The
    seconds are those of the processor: on one thread they are those of the clock, less the time
    that other programs took. A turn is as many calls as fit in 20 ms, after one that fills the
    cache; a run of one to three seconds gets two turns, a longer one counts once.
    """
    first = {name: seconds(run, 1) for name, run in runs.items()}
    turns = {name: [value] if value > 3 else [] for name, value in first.items()}
    for i in range(rounds):
        for name, run in runs.items():
            if first[name] <= 1:
                run()
            if first[name] <= 1 or (first[name] <= 3 and i < 2):
                turns[name].append(seconds(run, math.ceil(0.02 / first[name])))
    return {name: median(values) for name, values in turns.items()}


def seconds(run: Callable[[], object], n: int) -> float:
    start = process_time()
    for _ in range(n):
        run()
    return (process_time() - start) / n
