"""Total variation at the speed of memory: the kernels against eager torch and against their peers.

All in float32, on one thread, timed by `timing.py`. A ratio is the peer's time over ours.

1. One iteration u <- u - step (u - v + lam grad TV_eps(u)), plain and with momentum: the fused
   kernel, the reference in eager torch, the reference under torch.compile (plain), and a copy that
   reads u, reads v and writes w, the least traffic there is.

2. Time to an objective. All minimise 1/2 |u - v|^2 + lam TV(u) with exact TV (eps = 0), forward
   differences, Neumann borders, channels apart, and run until that objective is within 1e-4 of the
   optimum. The optimum is bracketed by duality: with p = grad u / sqrt(eps^2 + |grad u|^2) we have
   |p| <= 1, so 1/2 |v|^2 - 1/2 |v - lam grad^T p|^2 is a lower bound whoever computed u; gaps are
   measured from there. Every method has the smallest number of iterations that suffices (found by
   bisection at 512 x 512; at 2048 x 2048 that number is raised by tenths until it suffices).
   * ours       `smoothed_tv_denoise`, eps falling from 2e-2 to 2e-5 in six stages
   * reference  the same in eager torch (512 x 512 only)
   * chambolle  scikit-image `denoise_tv_chambolle`, without its stopping rule
   * bregman    scikit-image `denoise_tv_bregman`, likewise
   * deepinv    `deepinv.models.TVDenoiser`, likewise, with its own step size

3. `project_simplex` against its reference, which sorts, and against the sort alone.

    python benchmarks/smoothed_tv.py           half an hour; writes book/results/benchmarks_tv.json
    python benchmarks/smoothed_tv.py --quick   512 x 512 in grey; writes nothing
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from skimage import data
from skimage.restoration import denoise_tv_bregman, denoise_tv_chambolle
from timing import interleaved_medians
from torch import Tensor

from course_lib.finite_differences import gradient_adjoint
from course_lib.kernels.simplex import project_simplex
from course_lib.kernels.smoothed_tv import Descent, _reference, smoothed_tv_denoise
from course_lib.operators.torchvision_shim import make_torchvision_importable
from course_lib.results import Result, machine, store_results

make_torchvision_importable()
from deepinv.models import TVDenoiser  # noqa: E402

SIGMA, LAM = 0.1, 0.08  # lam is near the best PSNR for this noise on the photographs below
ACCURACY = 1e-4
LIMIT = 1600  # iterations after which a method is said not to get there
STAGES = [2e-2 / 4**k for k in range(6)]
GROWTH = 1.2  # a smaller eps needs more iterations


# ------------------------------------------------------------------ 1. one iteration


def one_iteration(size: int, rounds: int) -> list[Result]:
    generator = torch.Generator().manual_seed(0)
    v, u = (torch.rand(1, 1, size, size, generator=generator) for _ in range(2))
    w, eps, n = torch.empty_like(u), 0.01, {512: 100, 2048: 20}[size]
    step = 1 / (1 + 8 * LAM / eps)

    def descend(backend: str, momentum: bool, n: int) -> Callable[[], Tensor]:
        return lambda: smoothed_tv_denoise(
            v, LAM, eps, n, descent=Descent(momentum), backend=backend
        )

    compiled = torch.compile(dynamic=False)(
        lambda u: u - step * (u - v + LAM * _reference.grad(u, eps, "periodic"))
    )
    calls = {  # what runs, and how many iterations it makes
        "copy": (lambda: torch.add(u, v, out=w), 1),
        "fused": (descend("numba", False, n), n),
        "fused_momentum": (descend("numba", True, n), n),
        "compile": (lambda: compiled(u), 1),
        "eager": (descend("reference", False, 3), 3),
        "eager_momentum": (descend("reference", True, 3), 3),
    }
    for run, _ in calls.values():
        run()  # compiles
    measured = interleaved_medians({name: run for name, (run, _) in calls.items()}, rounds)
    each = {name: measured[name] / count for name, (_, count) in calls.items()}
    facts = (None, f"random image {size} x {size}, float32", 1, 0)
    results = []
    for name, value in each.items():
        print(
            f"iteration {size:5} {name:15} {1e3 * value:8.3f} ms {1e9 * value / size**2:7.3f} ns/px"
            f" {value / each['copy']:7.2f} copies {value / each['fused']:7.1f} x fused"
        )
        results.append(Result(f"iteration_{size}_{name}", 1e3 * value, "ms", *facts))
    for kind in ("fused", "fused_momentum"):
        peers = ("compile", "eager") if kind == "fused" else ("eager_momentum",)
        ratios = {f"iteration_{size}_{p}_over_{kind}": each[p] / each[kind] for p in peers}
        ratios[f"iteration_{size}_{kind}_over_copy"] = each[kind] / each["copy"]
        results += [Result(name, value, "ratio", *facts) for name, value in ratios.items()]
    return results


# ------------------------------------------------------------------ 2. time to an objective


def photograph(size: int, colour: bool) -> Tensor:
    """The camera man or the astronaut, continued by reflection, with noise: (1, C, size, size)."""
    image = (data.astronaut() if colour else data.camera()[..., None]) / 255.0
    image = np.pad(image, [(0, size - 512)] * 2 + [(0, 0)], mode="symmetric")
    clean = torch.from_numpy(image).movedim(-1, 0)[None]
    generator = torch.Generator().manual_seed(0)
    return clean + SIGMA * torch.randn(clean.shape, generator=generator, dtype=torch.float64)


def objective(u: Tensor, v: Tensor) -> float:
    p = _reference.differences(u.double(), "neumann")
    return (u - v).square().sum().item() / 2 + LAM * p.square().sum(0).sqrt().sum().item()


def lower_bound(v: Tensor) -> float:
    """The dual objective at a point that is within 2e-5 of the optimum."""
    u = v
    for eps, n in [(1e-2, 60), (1e-3, 150), (1e-4, 500), (1e-5, 1000)]:
        u = smoothed_tv_denoise(v, LAM, eps, n, x0=u, boundary="neumann")
    p = _reference.differences(u, "neumann")
    p = p / (p.square().sum(0) + eps**2).sqrt()
    bound = (v.square().sum() - (v - LAM * gradient_adjoint(p)).square().sum()).item() / 2
    assert 1 <= objective(u, v) / bound < 1 + 2e-5
    return bound


def methods(v: Tensor) -> dict[str, Callable[[int], Tensor]]:
    """name -> denoise(number of iterations)."""
    grey = v.shape[1] == 1
    pixels = v[0, 0].numpy() if grey else np.ascontiguousarray(v[0].movedim(0, -1).numpy())
    options = {"eps": 0, "channel_axis": None if grey else -1}

    def as_tensor(image: np.ndarray) -> Tensor:
        assert image.dtype == np.float32
        return torch.from_numpy(image).reshape(*v.shape[-2:], v.shape[1]).movedim(-1, 0)[None]

    def ours(n: int, backend: str = "numba") -> Tensor:
        u = v
        for eps, m in zip(STAGES, iterations_of_stages(n), strict=True):
            u = smoothed_tv_denoise(v, LAM, eps, m, x0=u, boundary="neumann", backend=backend)
        return u

    def chambolle(n: int) -> Tensor:
        return as_tensor(denoise_tv_chambolle(pixels, weight=LAM, max_num_iter=n, **options))

    def bregman(n: int) -> Tensor:
        return as_tensor(denoise_tv_bregman(pixels, weight=0.5 / LAM, max_num_iter=n, **options))

    def deepinv(n: int) -> Tensor:
        return TVDenoiser(n_it_max=n, crit=0)(v, ths=LAM)

    return {
        "ours": ours,
        "reference": lambda n: ours(n, "reference"),
        "chambolle": chambolle,
        "bregman": bregman,
        "deepinv": deepinv,
    }


def iterations_of_stages(n: int) -> list[int]:
    """n iterations in all, GROWTH times more in each stage."""
    weights = GROWTH ** np.arange(len(STAGES))
    return np.diff(np.round(n * weights.cumsum() / weights.sum()), prepend=0).astype(int).tolist()


def fewest_iterations(
    enough: Callable[[int], bool], start: int = 100, limit: int = LIMIT
) -> int | None:
    """The smallest n with enough(n), to 3 percent; None if the limit is not enough."""
    high = start
    while not enough(high):
        if high >= limit:
            return None
        high *= 2
    low = high // 2
    while high - low > 0.03 * high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@torch.no_grad()
def to_objective(size: int, colour: bool, counts: dict[str, int], rounds: int) -> list[Result]:
    """Time to the accuracy; `counts` holds the iterations found at 512 x 512, empty there."""
    exact = photograph(size, colour)
    v, bound = exact.float(), lower_bound(exact)
    compared, key = methods(v), f"denoise_{size}_{'colour' if colour else 'grey'}"

    def gap(name: str, n: int) -> float:
        return objective(compared[name](n), exact) / bound - 1

    facts = (None, f"photograph with noise {SIGMA}, {size} x {size} x {v.shape[1]}", 1, 0)
    if size == 512:
        found = {
            name: fewest_iterations(lambda n, name=name: gap(name, n) <= ACCURACY)
            for name in compared
            if name != "reference"
        }
        failed = [name for name, n in found.items() if n is None]
        counts |= {name: n for name, n in found.items() if n is not None}
        counts["reference"] = counts["ours"]
        results = [
            Result(f"{key}_{name}_stays_at", gap(name, LIMIT), "", *facts) for name in failed
        ]
        for result in results:
            print(f"{result.name}: relative gap {result.value:.1e} after {LIMIT} iterations")
    else:
        results = []
        counts.pop("reference", None)
        for name in counts:
            while gap(name, counts[name]) > ACCURACY:
                counts[name] = math.ceil(1.1 * counts[name])
    times = interleaved_medians({n: lambda n=n: compared[n](counts[n]) for n in counts}, rounds)
    for name, value in times.items():
        ratio = value / times["ours"]
        print(f"{key:22} {name:10} {counts[name]:5} its {value:9.3f} s {ratio:7.1f}", flush=True)
        results += [
            Result(f"{key}_{name}", value, "s", *facts),
            Result(f"{key}_{name}_iterations", counts[name], "", *facts),
        ]
        if name != "ours":
            results.append(Result(f"{key}_vs_{name}", ratio, "ratio", *facts))
    return results


# ------------------------------------------------------------------ 3. the simplex


def simplex(rows: int, n: int, rounds: int) -> list[Result]:
    v = torch.randn(rows, n, generator=torch.Generator().manual_seed(0))
    runs = {
        "ours": lambda: project_simplex(v, backend="numba"),
        "reference": lambda: project_simplex(v, backend="reference"),
        "sort": lambda: v.sort(-1, descending=True),
    }
    times = interleaved_medians(runs, rounds)
    facts, key = (None, f"random {rows} x {n}, float32", rows, 0), f"simplex_{rows}x{n}"
    results = [Result(f"{key}_ours", 1e3 * times["ours"], "ms", *facts)]
    for name, value in times.items():
        ratio = value / times["ours"]
        print(f"{key:22} {name:10} {1e3 * value:9.3f} ms {ratio:7.1f}")
        if name != "ours":
            results.append(Result(f"{key}_vs_{name}", ratio, "ratio", *facts))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description="Total variation kernels against their peers.")
    parser.add_argument("--quick", action="store_true", help="512 x 512 in grey, nothing stored")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.empty(7 * 2**20)  # freed at once: from now on the allocator keeps its pages
    results = one_iteration(512, 15)
    if not quick:
        results += one_iteration(2048, 9)
    for rows, n in ((1, 441), (64, 441), (4096, 64), (16, 65536)):
        results += simplex(rows, n, 15)
    for colour in (False,) if quick else (False, True):
        counts: dict[str, int] = {}
        results += to_objective(512, colour, counts, 5)
        if not quick:
            results += to_objective(2048, colour, counts, 2)
    if not quick:
        provenance = {
            "experiment": "smoothed_tv",
            "budget": "full",
            "command": "python benchmarks/smoothed_tv.py",
            "machine": f"1 thread of {machine()}",
        }
        path = store_results("benchmarks_tv", [replace(r, **provenance) for r in results])
        print(f"stored {len(results)} numbers in {path.name}")


if __name__ == "__main__":
    main()
