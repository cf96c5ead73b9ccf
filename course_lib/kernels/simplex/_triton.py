"""The projection without a sort on a GPU, one program a row; the method of `_numba.py`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from course_lib.kernels.backend import on_device_of

MAX_BLOCK = 4096  # entries of a row that are looked at together


@triton.jit
def project_kernel(v, p, n, BLOCK: tl.constexpr):
    """Newton's method for tau from max v - 1, pass by pass until the support shrinks no more."""
    v += tl.program_id(0).to(tl.int64) * n
    p += tl.program_id(0).to(tl.int64) * n
    entries = tl.arange(0, BLOCK)
    top = tl.max(tl.load(v + entries, mask=entries < n, other=-float("inf")))
    for first in range(BLOCK, n, BLOCK):
        block = tl.load(v + first + entries, mask=first + entries < n, other=-float("inf"))
        top = tl.maximum(top, tl.max(block))
    tau = top * 0 - 1
    before, count = n + 2, n + 1
    while count < before:  # not "!=": rounding may let an entry at the threshold in and out
        before = count
        count = 0
        total = top * 0
        for first in range(0, n, BLOCK):
            block = tl.load(v + first + entries, mask=first + entries < n, other=-float("inf"))
            inside = block - top > tau
            count += tl.sum(inside.to(tl.int32))
            total += tl.sum(tl.where(inside, block - top, 0))
        tau = (total - 1) / count
    for first in range(0, n, BLOCK):
        mask = first + entries < n
        block = tl.load(v + first + entries, mask=mask, other=0)
        tl.store(p + first + entries, tl.maximum(block - top - tau, 0), mask=mask)


def project(v: Tensor) -> Tensor:
    """(B, n) -> (B, n), both contiguous."""
    p, n = torch.empty_like(v), v.shape[1]
    with on_device_of(v):
        project_kernel[(len(v),)](v, p, n, BLOCK=min(triton.next_power_of_2(n), MAX_BLOCK))
    return p
