"""Numba and Triton say what the reference says."""

import os
import subprocess
import sys

import pytest
import torch
from kernels import agreement
from kernels.agreement import BOUNDARIES, FACTORS, ROWS, SHAPES, TOLERANCE

from course_lib.kernels import backend
from course_lib.kernels.banded_cholesky import BandedCholesky

dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


@dtypes
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_numba_smoothed_tv(shape, boundary, dtype):
    gaps = agreement.tv_gaps("numba", shape, boundary, dtype)
    assert max(gaps.values()) <= TOLERANCE[dtype], gaps


@dtypes
@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_numba_simplex(shape, scale, dtype):
    assert agreement.simplex_gap("numba", shape, scale, dtype) <= TOLERANCE[dtype]


@dtypes
@pytest.mark.parametrize("size", FACTORS, ids=str)
def test_numba_banded_cholesky(size, dtype):
    gaps = agreement.banded_gaps("numba", size, dtype)
    assert max(gaps.values()) <= TOLERANCE[dtype], gaps


def run_apart(*command: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_triton_interpreted():
    pytest.importorskip("triton")
    assert run_apart("-W", "error", agreement.__file__, TRITON_INTERPRET="1") == "agreed\n"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_triton_on_a_gpu():
    assert run_apart("-W", "error", agreement.__file__, "cuda") == "agreed\n"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@dtypes
@pytest.mark.parametrize("radius", [1, 2, 3])
@pytest.mark.parametrize("method", ["matvec", "matvec_t", "solve", "solve_t"])
def test_triton_banded_cholesky_on_a_gpu(method, radius, dtype, generator):
    """The off-diagonals add up to half the diagonal at most: |L^-1| <= 2 and errors stay small."""
    d = torch.ones(3, 1, 65, 130, dtype=dtype)
    m = ((2 * radius + 1) ** 2 - 1) // 2
    o = (torch.rand(3, m, 65, 130, generator=generator, dtype=dtype) - 0.5) / m
    x = torch.randn(2, 3, 1, 65, 130, generator=generator, dtype=dtype)
    here = getattr(BandedCholesky(d, o, radius, "reference"), method)(x)
    there = getattr(BandedCholesky(d.cuda(), o.cuda(), radius, "triton"), method)(x.cuda())
    assert (here - there.cpu()).abs().max() <= TOLERANCE[dtype] * here.abs().max()


TWO_THREADS = """
from itertools import product
import numba, torch
from kernels.agreement import (
    BOUNDARIES, FACTORS, SHAPES, TOLERANCE, banded_gaps, simplex_gap, tv_gaps
)
for threads, shape, boundary in product((3, 2), SHAPES, BOUNDARIES):
    torch.set_num_threads(threads)  # one plane and three threads: a chunk that meets no border
    gaps = tv_gaps("numba", shape, boundary, torch.float64)
    assert max(gaps.values()) <= TOLERANCE[torch.float64], (threads, shape, boundary, gaps)
assert simplex_gap("numba", (7, 30), 1.0, torch.float64) <= 1e-12
assert max(banded_gaps("numba", FACTORS[0], torch.float64).values()) <= 1e-12
assert torch.get_num_threads() == 2, torch.get_num_threads()
assert numba.get_num_threads() == 2, "the kernels change the threads of other Numba code"
torch.set_num_threads(1)
tv_gaps("numba", SHAPES[1], "neumann", torch.float64)
assert torch.get_num_threads() == 1
"""


@pytest.mark.slow
def test_threads_are_shared_and_given_back():
    """Chunks of rows and of planes agree with the reference; torch keeps its threads."""
    tests = os.path.dirname(os.path.dirname(agreement.__file__))  # noqa: PTH120
    run_apart("-c", TWO_THREADS, NUMBA_NUM_THREADS="2", OMP_NUM_THREADS="2", PYTHONPATH=tests)


@pytest.mark.slow
def test_serial_kernels_start_no_threads():
    """A forked worker may not start an OpenMP pool; with one thread none is started."""
    run_apart(
        "-c",
        "import torch, numba.np.ufunc.parallel as pool; torch.set_num_threads(1)\n"
        "from course_lib.kernels.smoothed_tv import smoothed_tv_grad\n"
        "smoothed_tv_grad(torch.rand(2, 1, 8, 8), 0.1, backend='numba')\n"
        "from course_lib.kernels.banded_cholesky import BandedCholesky\n"
        "x = torch.ones(2, 1, 8, 8)\n"
        "BandedCholesky(x, torch.zeros(2, 4, 8, 8), 1, 'numba').solve(x)\n"
        "assert not pool._is_initialized",
    )


# ------------------------------------------------------------------ the choice


def test_auto_takes_the_compiled_twin_and_falls_back_silently():
    x = torch.zeros(2)
    assert backend.choose_backend("auto", x) == "numba"
    assert backend.choose_backend("auto", x, cpu="reference") == "reference"
    assert backend.choose_backend("auto", x.half()) == "reference"
    assert backend.choose_backend("auto", x.to("meta")) == "reference"
    assert backend.choose_backend("auto", x.requires_grad_()) == "reference"
    assert backend.choose_backend("auto", torch.zeros(2), x) == "reference"
    with torch.no_grad():
        assert backend.choose_backend("auto", x) == "numba"


def test_auto_without_numba(monkeypatch):
    monkeypatch.setattr(backend, "installed", lambda name: name != "numba")
    assert backend.choose_backend("auto", torch.zeros(2)) == "reference"
    with pytest.raises(ValueError, match=r'numba is not installed\. Run "pip install numba"'):
        backend.choose_backend("numba", torch.zeros(2))


def test_a_named_backend_that_cannot_serve_says_why():
    x = torch.zeros(2)
    with pytest.raises(ValueError, match=r"expected one of .*numba, triton, got 'c'"):
        backend.choose_backend("c", x)
    with pytest.raises(ValueError, match=r"expected float32 or float64, got torch\.float16"):
        backend.choose_backend("numba", x.half())
    with pytest.raises(ValueError, match="expected a tensor on the CPU, got meta"):
        backend.choose_backend("numba", x.to("meta"))
    with pytest.raises(ValueError, match=r'records no gradient.*Use backend="auto"'):
        backend.choose_backend("numba", x.requires_grad_())


def test_triton_without_a_gpu_says_what_to_do(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setattr(backend, "interpreting", lambda: False)
    with pytest.raises(ValueError, match=r"on a GPU, got cpu.*TRITON_INTERPRET=1"):
        backend.choose_backend("triton", torch.zeros(2))
