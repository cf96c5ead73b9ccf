"""The banded Cholesky factor: dense algebra, adjoints, derivatives, the law of its samples."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from course_lib.kernels.banded_cholesky import BandedCholesky, causal_offsets

F64 = torch.float64
BACKENDS = ["reference", "numba"]
backends = pytest.mark.parametrize("backend", BACKENDS)


def factor(generator, batch, height, width, radius, backend="auto", dtype=F64):
    """Each row has off-diagonals of sum at most 1/2 of the diagonal: |L^-1| is at most 2 / min d.

    Entries outside the image are not 0: they must not count.
    """
    m = len(causal_offsets(radius))
    d = 0.5 + torch.rand(batch, 1, height, width, generator=generator, dtype=F64)
    o = (2 * torch.rand(batch, m, height, width, generator=generator, dtype=F64) - 1) * d
    return BandedCholesky(d.to(dtype), (o / (2 * max(m, 1))).to(dtype), radius, backend)


def by_hand(L, b):
    """The matrix of factor b from its definition, entry by entry."""
    _, _, height, width = L.diagonal.shape
    dense = L.diagonal[b].flatten().diag()
    for row in range(height):
        for column in range(width):
            for k, (i, j) in enumerate(causal_offsets(L.radius)):
                if row + i >= 0 and 0 <= column + j < width:
                    there = (row + i) * width + column + j
                    dense[row * width + column, there] = L.offdiagonal[b, k, row, column]
    return dense


SIZES = [(6, 5), (5, 2), (7, 1), (1, 7), (1, 1), (9, 11)]
sizes = pytest.mark.parametrize(("height", "width"), SIZES)
radii = pytest.mark.parametrize("radius", [0, 1, 2, 3])


@backends
@sizes
@radii
def test_against_dense_algebra(height, width, radius, backend, generator):
    """|L^-1|_inf <= 4 and |L|_inf <= 2.25, so 1e-13 is some hundred rounding errors."""
    L = factor(generator, 2, height, width, radius, backend)
    dense = torch.stack([by_hand(L, 0), by_hand(L, 1)])
    assert torch.equal(L.dense(), dense)
    x = torch.randn(3, 2, 1, height, width, generator=generator, dtype=F64)
    columns = x.reshape(3, 2, -1).permute(1, 2, 0)
    expected = {
        "matvec": dense @ columns,
        "matvec_t": dense.mT @ columns,
        "solve": torch.linalg.solve_triangular(dense, columns, upper=False),
        "solve_t": torch.linalg.solve_triangular(dense.mT, columns, upper=True),
    }
    for method, answer in expected.items():
        y = getattr(L, method)(x).reshape(3, 2, -1).permute(1, 2, 0)
        torch.testing.assert_close(y, answer, rtol=0, atol=1e-13)
    torch.testing.assert_close(L.log_det(), dense.slogdet().logabsdet, rtol=1e-13, atol=1e-13)


@backends
@pytest.mark.parametrize("method", ["matvec", "matvec_t", "solve", "solve_t"])
def test_gradcheck(method, backend, generator):
    L = factor(generator, 2, 3, 4, 1, backend)
    inputs = [t.requires_grad_() for t in (L.diagonal, L.offdiagonal)]
    x = torch.randn(2, 2, 1, 3, 4, generator=generator, dtype=F64).requires_grad_()

    def run(d, o, x):
        return getattr(BandedCholesky(d, o, 1, backend), method)(x)

    assert gradcheck(run, (*inputs, x))
    assert gradgradcheck(run, (*inputs, x))
