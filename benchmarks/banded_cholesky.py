"""The banded Cholesky factor: a triangular solve against its peers, and what a sample costs.

In float32, on one thread, timed by `timing.py`. A ratio is the peer's time over ours.

1. L^T u = v for 100 images of 64 x 64 pixels, a factor for each, patches of 3, 5 and 7 pixels.
   Every matrix is in its method's own format before the clock starts, except where said.
   * ours              `BandedCholesky.solve_t` in Numba
   * reference         the same in eager torch: the pixels of a front at once, all images at once
   * spsolve           scipy.sparse.linalg.spsolve_triangular, one image after the other
   * spsolve_build     the same with the sparse matrix made from the arrays of the factor: the
                       factors of a network are new at every call
   * superlu           `solve` of a scipy.sparse.linalg.splu object, in natural order
   * superlu_build     the same with splu, from the sparse matrix: for a triangular matrix it
                       computes nothing, it arranges
   * tbsv              BLAS through scipy.linalg.blas: L as a full band of radius (W + 1) diagonals

2. A sample: `BandedCholesky.sample`, random numbers included, nanoseconds a pixel from 32 x 32 to
   512 x 512 pixels, with as many images as make 512 x 512 pixels together, a factor for each. Work
   linear in pixels is a constant.

3. Shares of a step of variational inference, 16 images of 64 x 64, patch of 5: making the factor
   (its checks), a solve, and a solve with its gradient.

    python benchmarks/banded_cholesky.py           two minutes; writes
                                                   book/results/benchmarks_banded_cholesky.json
    python benchmarks/banded_cholesky.py --quick   ten images, small sizes; writes nothing
"""

import argparse
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from scipy.linalg import blas
from scipy.sparse import csc_array
from scipy.sparse.linalg import SuperLU, splu, spsolve_triangular
from timing import interleaved_medians
from torch import Tensor

from course_lib.kernels.banded_cholesky import BandedCholesky, causal_offsets
from course_lib.results import Result, machine, store_results
from course_lib.rng import generator_from

SIDE, PIXELS = 64, 512**2
ROUNDS = 15


def random_factor(batch: int, side: int, radius: int, backend: str = "auto") -> BandedCholesky:
    """Off-diagonals that add up to half the diagonal at most: samples neither grow nor vanish."""
    generator = generator_from(0)
    m = len(causal_offsets(radius))
    d = 0.5 + torch.rand(batch, 1, side, side, generator=generator)
    o = (torch.rand(batch, m, side, side, generator=generator) - 0.5) * d / m
    return BandedCholesky(d, o, radius, backend)


# ------------------------------------------------------------------ 1. the solve


def sparsity(radius: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and place in (o_1, ..., o_m, d) of each entry of L, for an image of SIDE^2."""
    i, j = np.divmod(np.arange(SIDE**2), SIDE)
    rows, columns, places = [], [], []
    for k, (row, column) in enumerate((*causal_offsets(radius), (0, 0))):
        inside = (i + row >= 0) & (j + column >= 0) & (j + column < SIDE)
        pixels = np.flatnonzero(inside)
        rows.append(pixels)
        columns.append(pixels + row * SIDE + column)
        places.append(k * SIDE**2 + pixels)
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(places)


def values(factor: BandedCholesky) -> np.ndarray:
    """(B, (m + 1) H W): off-diagonals, then the diagonal."""
    return torch.cat((factor.offdiagonal, factor.diagonal), 1).flatten(1).numpy()


class SparseFormat:
    """L and L^T of every image as compressed columns; the pattern is computed once."""

    def __init__(self, radius: int, transposed: bool) -> None:
        rows, columns, places = sparsity(radius)
        if transposed:
            rows, columns = columns, rows
        order = np.lexsort((rows, columns))
        self.places, self.indices = places[order], rows[order].astype(np.int32)
        starts = np.searchsorted(columns[order], np.arange(SIDE**2 + 1))
        self.starts = starts.astype(np.int32)

    def __call__(self, numbers: np.ndarray) -> csc_array:
        entries = (numbers[self.places], self.indices, self.starts)
        return csc_array(entries, shape=(SIDE**2, SIDE**2))


def factored(lower: csc_array) -> SuperLU:
    return splu(lower, permc_spec="NATURAL", diag_pivot_thresh=0, options={"SymmetricMode": True})


def full_bands(radius: int, numbers: np.ndarray) -> np.ndarray:
    """(radius (SIDE + 1) + 1, SIDE^2), diagonal by diagonal, as BLAS stores a lower band."""
    rows, columns, places = sparsity(radius)
    bands = np.zeros((radius * (SIDE + 1) + 1, SIDE**2), numbers.dtype, order="F")
    bands[rows - columns, columns] = numbers[places]
    return bands


def competitors(batch: int, radius: int) -> dict[str, Callable[[], np.ndarray]]:
    factor = random_factor(batch, SIDE, radius, "numba")
    slow = BandedCholesky(factor.diagonal, factor.offdiagonal, radius, "reference")
    v = torch.randn(factor.diagonal.shape, generator=generator_from(1))
    right, numbers = v.flatten(1).numpy(), values(factor)
    lower, upper = SparseFormat(radius, False), SparseFormat(radius, True)
    uppers, lowers = [[form(row) for row in numbers] for form in (upper, lower)]
    arranged = [factored(matrix) for matrix in lowers]
    bands = [full_bands(radius, row) for row in numbers]

    def spsolve(matrices: list[csc_array]) -> np.ndarray:
        pairs = zip(matrices, right, strict=True)
        return np.stack([spsolve_triangular(matrix, b, lower=False) for matrix, b in pairs])

    def superlu(objects: list[SuperLU]) -> np.ndarray:
        return np.stack([lu.solve(b, trans="T") for lu, b in zip(objects, right, strict=True)])

    def tbsv() -> np.ndarray:
        k, pairs = len(bands[0]) - 1, zip(bands, right, strict=True)
        return np.stack([blas.stbsv(k, band, b, lower=1, trans=1) for band, b in pairs])

    return {
        "ours": lambda: factor.solve_t(v).flatten(1).numpy(),
        "reference": lambda: slow.solve_t(v).flatten(1).numpy(),
        "spsolve": lambda: spsolve(uppers),
        "spsolve_build": lambda: spsolve([upper(row) for row in values(factor)]),
        "superlu": lambda: superlu(arranged),
        "superlu_build": lambda: superlu([factored(matrix) for matrix in lowers]),
        "tbsv": tbsv,
    }


def solve(batch: int, radius: int) -> list[Result]:
    runs = competitors(batch, radius)
    answers = {name: run() for name, run in runs.items()}
    for name, answer in answers.items():
        gap = np.abs(answer - answers["ours"]).max() / np.abs(answers["ours"]).max()
        if answer.dtype != np.float32 or gap > 1e-5:
            raise RuntimeError(f"{name} is another answer: {answer.dtype}, relative gap {gap}.")
    times = interleaved_medians(runs, ROUNDS)
    key = f"banded_solve_f{2 * radius + 1}"
    facts = (None, f"random factors, {SIDE} x {SIDE}, float32", batch, 0)
    results = []
    for name, value in times.items():
        ratio = value / times["ours"]
        print(f"{key} {name:15} {1e3 * value:9.2f} ms {ratio:7.1f}", flush=True)
        results.append(Result(f"{key}_{name}", 1e3 * value, "ms", *facts))
        if name != "ours":
            results.append(Result(f"{key}_vs_{name}", ratio, "ratio", *facts))
    return results


# ------------------------------------------------------------------ 2. a sample


def samples(sides: list[int], radius: int) -> list[Result]:
    def draw(side: int) -> Callable[[], Tensor]:
        factor = random_factor(PIXELS // side**2, side, radius)
        generator = generator_from(1)
        return lambda: factor.sample(generator)

    times = interleaved_medians({str(side): draw(side) for side in sides}, ROUNDS)
    results = []
    for side in sides:
        each = 1e9 * times[str(side)] / PIXELS
        name = f"banded_sample_f{2 * radius + 1}_{side}"
        print(f"{name:24} {each:7.2f} ns/px", flush=True)
        data = f"random factors, {side} x {side}, float32"
        results.append(Result(name, each, "ns/pixel", None, data, PIXELS // side**2, 0))
    return results


# ------------------------------------------------------------------ 3. a step of inference


def step_of_inference(batch: int, radius: int) -> list[Result]:
    factor = random_factor(batch, SIDE, radius)
    eps = torch.randn(factor.diagonal.shape, generator=generator_from(1))
    leaves = [t.clone().requires_grad_() for t in (factor.diagonal, factor.offdiagonal, eps)]

    def with_gradient() -> None:
        u = BandedCholesky(*leaves[:2], radius).solve_t(leaves[2])
        torch.autograd.grad(u.sum(), leaves)

    runs = {
        "make": lambda: BandedCholesky(factor.diagonal, factor.offdiagonal, radius),
        "solve": lambda: factor.solve_t(eps),
        "solve_and_gradient": with_gradient,
    }
    data = f"random factors, {SIDE} x {SIDE}, patch of {2 * radius + 1}, float32"
    results = []
    for name, value in interleaved_medians(runs, ROUNDS).items():
        print(f"banded_step_{name:20} {1e3 * value:7.3f} ms", flush=True)
        results.append(Result(f"banded_step_{name}", 1e3 * value, "ms", None, data, batch, 0))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description="The banded Cholesky factor and its peers.")
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing stored")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.empty(7 * 2**20)  # freed at once: from now on the allocator keeps its pages
    batch, sides = (10, [32, 64]) if quick else (100, [32, 64, 128, 256, 512])
    results = [result for radius in (1, 2, 3) for result in solve(batch, radius)]
    results += [result for radius in (1, 2, 3) for result in samples(sides, radius)]
    results += step_of_inference(16, 2)
    if not quick:
        provenance = {
            "experiment": "banded_cholesky",
            "budget": "full",
            "command": "python benchmarks/banded_cholesky.py",
            "machine": f"1 thread of {machine()}",
        }
        stored = [replace(result, **provenance) for result in results]
        path = store_results("benchmarks_banded_cholesky", stored)
        print(f"stored {len(results)} numbers in {path.name}")


if __name__ == "__main__":
    main()
