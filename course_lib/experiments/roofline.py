"""How close one iteration of a kernel comes to the speed of memory, on the reader's machine."""

from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch

from course_lib.kernels.smoothed_tv import Descent, smoothed_tv_denoise


def time_of_one_iteration(side: int = 2048, rounds: int = 5) -> dict[str, float]:
    """Nanoseconds a pixel and iteration of smoothed TV denoising, single precision.

    "plain copy" adds two images into a third, which moves the same twelve bytes a pixel as an
    iteration must. The competitors take turns; the median turn counts.
    """
    v = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0))
    other, target = v.clone(), torch.empty_like(v)

    def descent(backend: str, n: int) -> Callable[[], object]:
        return lambda: smoothed_tv_denoise(
            v, 0.1, 0.01, n, descent=Descent(momentum=False), backend=backend
        )

    tasks = {
        "PyTorch, operation by operation": (descent("reference", 2), 2),
        "fused kernel": (descent("numba", 10), 10),
        "plain copy": (lambda: torch.add(v, other, out=target), 1),
    }
    turns: dict[str, list[float]] = {name: [] for name in tasks}
    for run, _ in tasks.values():
        run()  # compiles, and warms the caches
    for _ in range(rounds):
        for name, (run, iterations) in tasks.items():
            start = perf_counter()
            run()
            turns[name].append((perf_counter() - start) / iterations)
    return {name: 1e9 * median(times) / side**2 for name, times in turns.items()}
