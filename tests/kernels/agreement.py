"""How far a compiled backend is from the reference; run as a program, it checks Triton.

The tests start it in a process of its own: TRITON_INTERPRET must be set before Triton's programs
are defined, and a fault in one can take the interpreter down with it. On a machine with a GPU
`python tests/kernels/agreement.py cuda` checks what is compiled for it.
"""

import sys
from itertools import product

import torch
from torch import Tensor

from course_lib.kernels.backend import implementation
from course_lib.kernels.banded_cholesky import BandedCholesky, causal_offsets
from course_lib.kernels.simplex import project_simplex
from course_lib.kernels.smoothed_tv import (
    Descent,
    smoothed_tv_denoise,
    smoothed_tv_grad,
    smoothed_tv_value,
)

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
SHAPES = [
    (1, 1, 1, 1),
    (2, 3, 17, 31),
    (3, 1, 64, 64),
    (1, 1, 65, 131),
    (2, 1, 1, 5),
    (1, 2, 6, 1),
]
BOUNDARIES = ["periodic", "neumann"]
ROWS = [(1,), (3,), (5, 1), (2, 3, 441), (2, 10007)]
FACTORS = [  # images a factor, factors, height, width, radius
    (2, 2, 3, 6, 2),
    (1, 2, 6, 5, 1),
    (1, 1, 4, 7, 3),
    (1, 1, 3, 7, 4),
    (2, 1, 1, 4, 3),
    (1, 2, 4, 1, 2),
    (1, 1, 1, 1, 1),
    (2, 1, 4, 3, 0),
]
EPS, LAM, PLAIN = 0.01, 0.08, Descent(momentum=False)


def tv_gaps(
    backend: str, shape: tuple[int, ...], boundary: str, dtype: torch.dtype, device: str = "cpu"
) -> dict[str, float]:
    """Largest difference from the reference, relative for the value, by name."""
    generator = torch.Generator().manual_seed(0)
    u = torch.rand(shape, generator=generator, dtype=torch.float64).to(device, dtype)
    lam = LAM * torch.arange(1, len(u) + 1, device=device) / len(u)

    def both(f, *args, **kwargs) -> tuple[Tensor, Tensor]:
        results = [f(*args, boundary=boundary, backend=b, **kwargs) for b in (backend, "reference")]
        assert results[0].dtype == results[1].dtype == dtype
        assert results[0].shape == results[1].shape
        return results

    value, true_value = both(smoothed_tv_value, u, EPS)
    pairs = {
        "grad": both(smoothed_tv_grad, u, EPS),
        "plain": both(smoothed_tv_denoise, u, lam, EPS, 2, descent=PLAIN),
        "momentum": both(smoothed_tv_denoise, u, lam, EPS, 4),
        "from_x0": both(smoothed_tv_denoise, u, lam, EPS, 1, x0=u.flip(-1)),
    }
    gaps = {name: (a - b).abs().max().item() for name, (a, b) in pairs.items()}
    return gaps | {"value": ((value - true_value) / true_value).abs().max().item()}


def simplex_gap(
    backend: str, shape: tuple[int, ...], scale: float, dtype: torch.dtype, device: str = "cpu"
) -> float:
    generator = torch.Generator().manual_seed(0)
    v = (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(device, dtype)
    p, truth = (project_simplex(v, backend=b) for b in (backend, "reference"))
    return (p - truth).abs().max().item()


def banded_gaps(
    backend: str, size: tuple[int, ...], dtype: torch.dtype, device: str = "cpu"
) -> dict[str, float]:
    """Largest difference from the reference over the largest number, by name.

    Off-diagonals add up to half the diagonal at most, so |L^-1| <= 2 / min d and errors stay small.
    """
    samples, batch, height, width, radius = size
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    m = len(causal_offsets(radius))
    d = 0.5 + random(batch, 1, height, width)
    o = (random(batch, m, height, width) - 0.5) * d / max(m, 1)
    size = (samples, batch, 1, height, width)
    x, y = (random(*size).sub(0.5).to(device, dtype) for _ in range(2))
    d, o = (t.to(device, dtype) for t in (d, o))
    ours, truth = (BandedCholesky(d, o, radius, name) for name in (backend, "reference"))
    pairs = {
        method: [getattr(factor, method)(x) for factor in (ours, truth)]
        for method in ("matvec", "matvec_t", "solve", "solve_t")
    }
    outer = [
        implementation("banded_cholesky", name).outer(x.squeeze(2), y.squeeze(2), radius)
        for name in (backend, "reference")
    ]
    pairs |= dict(zip(("outer_diagonal", "outer"), zip(*outer, strict=True), strict=True))
    if m == 0:
        assert pairs.pop("outer")[0].shape == (batch, 0, height, width)
    for a, b in pairs.values():
        assert a.dtype == b.dtype == dtype
        assert a.shape == b.shape
    return {name: ((a - b).abs().max() / b.abs().max()).item() for name, (a, b) in pairs.items()}


def main(device: str = "cpu") -> None:
    for dtype, tolerance in TOLERANCE.items():
        # the interpreter takes a second a size: few of them show a dtype that gets lost
        complete = dtype == torch.float64 or device != "cpu"
        for shape, boundary in product(SHAPES if complete else SHAPES[1:2], BOUNDARIES):
            gaps = tv_gaps("triton", shape, boundary, dtype, device)
            assert max(gaps.values()) <= tolerance, (shape, boundary, dtype, gaps)
        for shape, scale in product(ROWS, (1e-3, 1.0, 100.0)):
            gap = simplex_gap("triton", shape, scale, dtype, device)
            assert gap <= tolerance, (shape, scale, dtype, gap)
        for size in FACTORS if complete else FACTORS[1:2]:
            gaps = banded_gaps("triton", size, dtype, device)
            assert max(gaps.values()) <= tolerance, (size, dtype, gaps)


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.write("agreed\n")
