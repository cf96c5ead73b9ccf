"""The Triton kernels against PyTorch on the same GPU, and potentials by a larger denoiser.

In float32; medians of `triton.testing.do_bench`, in milliseconds. A ratio is the peer's time over
ours.

1. One iteration of smoothed total variation, as in `smoothed_tv.py`: the fused kernel, the
   reference in eager torch, the same under torch.compile, and a copy, the least traffic there is.
2. `project_simplex` against its reference, which sorts, and against the sort alone.
3. A triangular solve with the banded Cholesky factor against its reference, which goes from pixel
   to pixel in eager torch.
4. Sixteen potentials of 64 x 64 images by a U-Net of six million weights.

    python benchmarks/gpu.py     a minute on a GPU; writes book/results/benchmarks_gpu.json
"""

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from triton.testing import do_bench

from course_lib.diffusion import estimate_potential
from course_lib.kernels.banded_cholesky import BandedCholesky, causal_offsets
from course_lib.kernels.simplex import project_simplex
from course_lib.kernels.smoothed_tv import Descent, _reference, smoothed_tv_denoise
from course_lib.models.denoiser import unet_denoiser
from course_lib.results import Result, store_results
from course_lib.rng import generator_from

LAM, EPS = 0.08, 0.01
LARGE = {"data_mean": 0.5, "data_std": 0.2, "channels": [64, 128, 128], "img_size": [1, 64, 64]}


def compared(
    key: str, data: str, runs: dict[str, tuple[Callable[[], object], int]]
) -> list[Result]:
    """Times of `ours` and its peers, each with the number of repetitions in a call, and ratios."""
    times = {name: do_bench(run, return_mode="median") / n for name, (run, n) in runs.items()}
    results = []
    for name, value in times.items():
        ratio = value / times["ours"]
        print(f"{key:22} {name:10} {value:9.4f} ms {ratio:8.2f}", flush=True)
        results.append(Result(f"{key}_{name}", value, "ms", None, data, 1, 0))
        if name != "ours":
            results.append(Result(f"{key}_vs_{name}", ratio, "ratio", None, data, 1, 0))
    return results


def uniform(*shape: int) -> Tensor:
    return torch.rand(shape, generator=generator_from(0)).cuda()


def one_iteration(side: int) -> list[Result]:
    v, u = uniform(1, 1, side, side), uniform(1, 1, side, side).flip(-1)
    w, step = torch.empty_like(u), 1 / (1 + 8 * LAM / EPS)

    def descend(backend: str, n: int) -> Callable[[], Tensor]:
        return lambda: smoothed_tv_denoise(
            v, LAM, EPS, n, descent=Descent(momentum=False), backend=backend
        )

    compiled = torch.compile(dynamic=False)(
        lambda u: u - step * (u - v + LAM * _reference.grad(u, EPS, "periodic"))
    )
    runs = {
        "ours": (descend("triton", 50), 50),
        "copy": (lambda: torch.add(u, v, out=w), 1),
        "compile": (lambda: compiled(u), 1),
        "eager": (descend("reference", 5), 5),
    }
    return compared(f"iteration_{side}", f"random image {side} x {side}, float32", runs)


def simplex(rows: int, n: int) -> list[Result]:
    v = torch.randn(rows, n, generator=generator_from(0)).cuda()
    runs = {
        "ours": (lambda: project_simplex(v, backend="triton"), 1),
        "reference": (lambda: project_simplex(v, backend="reference"), 1),
        "sort": (lambda: v.sort(-1, descending=True), 1),
    }
    return compared(f"simplex_{rows}x{n}", f"random {rows} x {n}, float32", runs)


def banded_solve(batch: int, side: int, radius: int) -> list[Result]:
    m = len(causal_offsets(radius))
    d, o = torch.ones(batch, 1, side, side).cuda(), (uniform(batch, m, side, side) - 0.5) / m
    v = uniform(batch, 1, side, side)
    ours, slow = (BandedCholesky(d, o, radius, name) for name in ("triton", "reference"))
    gap = (ours.solve_t(v) - slow.solve_t(v)).abs().max().item()
    if gap > 1e-5:
        raise RuntimeError(f"The two solves differ by {gap}.")
    runs = {"ours": (lambda: ours.solve_t(v), 1), "reference": (lambda: slow.solve_t(v), 1)}
    data = f"{batch} random factors, {side} x {side}, patch of {2 * radius + 1}, float32"
    return compared(f"banded_solve_f{2 * radius + 1}", data, runs)


def potentials() -> list[Result]:
    torch.manual_seed(0)
    model = unet_denoiser(**LARGE).cuda().requires_grad_(False)
    x = uniform(16, 1, 64, 64)
    for _ in range(2):  # the first call warms up
        torch.cuda.synchronize()
        start = time.perf_counter()
        found = estimate_potential(model, x, 10, 1, generator_from(1))
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    n, weights = int(found.evaluations[0]), sum(p.numel() for p in model.parameters())
    print(
        f"16 potentials of 64 x 64, {weights / 1e6:.1f} M weights, {n} evaluations: {seconds:.2f} s"
    )
    data = (
        f"16 images of 64 x 64, U-Net of {weights / 1e6:.1f} M weights, one probe, {n} evaluations"
    )
    return [Result("potentials_16_64", seconds, "s", None, data, 16, 0)]


def main() -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    results = [result for side in (512, 2048, 4096) for result in one_iteration(side)]
    for rows, n in ((1, 441), (64, 441), (4096, 64), (16, 65536)):
        results += simplex(rows, n)
    for radius in (1, 2, 3):
        results += banded_solve(16, 64, radius)
    results += potentials()
    provenance = {
        "experiment": "gpu",
        "budget": "full",
        "command": "python benchmarks/gpu.py",
        "machine": f"{torch.cuda.get_device_name()}, torch {torch.__version__.split('+')[0]}",
    }
    path = store_results("benchmarks_gpu", [replace(r, **provenance) for r in results])
    print(f"stored {len(results)} numbers in {path.name}")


if __name__ == "__main__":
    main()
