"""How much a closed form saves: `prox_l2` of blur and x4 super-resolution against its peers.

All solve argmin_u gamma/2 |A u - y|^2 + 1/2 |u - z|^2 in float32 on one thread, with the same
periodic A, y and z. gamma = (0.1 / sigma)^2 weighs a measurement with noise sigma beside an
estimate z that is off by 0.1. sigma = 0.03 (gamma 11) is easy for conjugate gradients,
sigma = 1 / 255 (gamma 650) is not.

* ours            the closed form of `course_lib.operators`
* cg              our `conjugate_gradient` on the normal equations, to a relative residual of 1e-6
* deepinv         the iterative `Blur(padding="circular")`: its conjugate gradient, tolerance 1e-6
                  (one grey 256 x 256 image only: it takes seconds)
* deepinv_fft     the same with `use_fft=True`
* deepinv_closed  its closed forms: `BlurFFT`, and `Downsampling(padding="circular")`

The transfer functions of all operators are computed before the clock of `timing.py` starts. A
ratio is the peer's time over ours. The gap is the largest difference from the exact answer (the
closed form in float64). A residual of 1e-6 |b| in (gamma A^T A + I) u = b keeps |u - exact| below
1e-6 |b|; a competitor that is further away stops the run.

    python benchmarks/closed_forms.py           some minutes; writes book/results/benchmarks.json
    python benchmarks/closed_forms.py --quick   two small problems; writes nothing
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import torch
from timing import interleaved_medians
from torch import Tensor

from course_lib.operators import (
    Blur,
    Downsampling,
    LinearOperator,
    bicubic_kernel,
    gaussian_kernel,
    motion_kernel,
)
from course_lib.operators.torchvision_shim import make_torchvision_importable
from course_lib.results import Result, machine, store_results
from course_lib.solvers import conjugate_gradient

make_torchvision_importable()
from deepinv import physics  # noqa: E402

SIGMAS = {"noise_8": 7.65 / 255, "noise_1": 1 / 255}  # in grey levels of 255
RTOL = 1e-6
FACTOR = 4
KERNELS = {
    "motion": lambda dtype: motion_kernel(29.0, 0.6, size=31, dtype=dtype),
    "gaussian": lambda dtype: gaussian_kernel(3.0, size=31, dtype=dtype),
    "sr4": lambda dtype: bicubic_kernel(FACTOR, dtype),
}
SIZES = {"256": (1, 1, 256, 256), "512": (1, 1, 512, 512), "256_colour": (4, 3, 256, 256)}


def ours(kind: str, size: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
    kernel = KERNELS[kind](dtype)
    return Downsampling(size, FACTOR, kernel) if kind == "sr4" else Blur(kernel, size)


def by_conjugate_gradient(op: LinearOperator, z: Tensor, y: Tensor, gamma: float) -> Tensor:
    b = gamma * op.A_adjoint(y) + z
    solution = conjugate_gradient(lambda u: gamma * op.A_adjoint(op.A(u)) + u, b, z, rtol=RTOL)
    assert solution.status == "converged"
    return solution.x


def competitors(kind: str, z: Tensor, y: Tensor, gamma: float) -> dict[str, Callable[[], Tensor]]:
    size = tuple(z.shape[1:])
    op, kernel = ours(kind, size, torch.float32), KERNELS[kind](torch.float32)
    iterative = {"padding": "circular", "max_iter": 500, "tol": RTOL}
    if kind == "sr4":
        peers = {"deepinv_closed": physics.Downsampling(size, kernel, FACTOR, padding="circular")}
    else:
        peers = {
            "deepinv_fft": physics.Blur(kernel, use_fft=True, **iterative),
            "deepinv_closed": physics.BlurFFT(size, kernel),
        }
        if z.numel() == 256**2:
            peers["deepinv"] = physics.Blur(kernel, **iterative)
    return {
        "ours": lambda: op.prox_l2(z, y, gamma),
        "cg": lambda: by_conjugate_gradient(op, z, y, gamma),
    } | {name: lambda p=peer: p.prox_l2(z, y, gamma) for name, peer in peers.items()}


@torch.no_grad()
def measure(kind: str, size_name: str, noise: str, rounds: int) -> list[Result]:
    """Time one problem, print its lines of the table, and return its numbers."""
    shape, sigma = SIZES[size_name], SIGMAS[noise]
    gamma = (0.1 / sigma) ** 2
    generator = torch.Generator().manual_seed(0)
    exact_op = ours(kind, shape[1:], torch.float64)
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    z = x + 0.1 * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    y = exact_op.A(x)
    y = y + sigma * torch.randn(y.shape, generator=generator, dtype=torch.float64)
    exact = exact_op.prox_l2(z, y, gamma)
    runs = competitors(kind, z.float(), y.float(), gamma)
    errors = {name: run().double() - exact for name, run in runs.items()}
    gaps = {name: error.abs().max().item() for name, error in errors.items()}
    if max(e.norm() for e in errors.values()) > RTOL * (gamma * exact_op.A_adjoint(y) + z).norm():
        raise RuntimeError(f"The competitors disagree, by at most: {gaps}.")
    seconds = interleaved_medians(runs, rounds)
    key = f"{kind}_{size_name}_{noise}"
    data = f"random images {' x '.join(map(str, shape))}, {kind}, gamma {gamma:.0f}"
    facts = (None, data, shape[0], 0)
    results = [
        Result(f"prox_{key}_ours", 1e3 * seconds["ours"], "ms", *facts),
        Result(f"prox_{key}_gap", max(gaps.values()), "", *facts),
    ]
    for name, value in seconds.items():
        ratio = value / seconds["ours"]
        print(f"{key:27} {name:15} {1e3 * value:9.2f} {ratio:8.1f} {gaps[name]:9.1e}")
        if name != "ours":
            results.append(Result(f"prox_{key}_vs_{name}", ratio, "ratio", *facts))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description="Closed-form prox_l2 against its peers.")
    parser.add_argument("--quick", action="store_true", help="two small problems, nothing stored")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.empty(7 * 2**20)  # freed at once: from now on the allocator keeps its pages
    problems = product(KERNELS, SIZES, SIGMAS)
    if quick:
        problems = [("motion", "256", "noise_8"), ("sr4", "256", "noise_8")]
    print(f"{'problem':27} {'method':15} {'ms':>9} {'ratio':>8} {'gap':>9}")
    results = [result for p in problems for result in measure(*p, rounds=5 if quick else 15)]
    if not quick:
        provenance = {
            "experiment": "closed_forms",
            "budget": "full",
            "command": "python benchmarks/closed_forms.py",
            "machine": f"1 thread of {machine()}",
        }
        path = store_results("benchmarks", [replace(r, **provenance) for r in results])
        print(f"stored {len(results)} numbers in {path.name}")


if __name__ == "__main__":
    main()
