"""The projection without a sort, after Michelot.

sum (v - tau)_+ is convex and decreasing in tau, so Newton's method from max v - 1, on the left of
the root, climbs to it; the support only shrinks, and once it does not the root is exact. A handful
of passes over the row suffices, and a row is in the cache.

Source: Michelot, "A finite algorithm for finding the projection of a point onto the canonical
simplex of R^n", JOTA 1986, doi:10.1007/BF00938486.
"""

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from course_lib.kernels.backend import launch

FLAGS = {"cache": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
ZERO = np.float32(0)


@njit(**FLAGS)
def project_row(v, p):
    top = v[0]
    for j in range(v.size):
        top = max(top, v[j])
    for j in range(v.size):
        p[j] = v[j] - top
    tau, before, count = p.dtype.type(-1), p.size + 2, p.size + 1
    while count < before:  # not "!=": rounding may let an entry at the threshold in and out
        before, count, total = count, 0, 0.0
        for j in range(p.size):
            inside = p[j] > tau
            count += inside
            total += p[j] if inside else ZERO
        tau = p.dtype.type((total - 1) / count)
    for j in range(p.size):
        p[j] = max(p[j] - tau, ZERO)


@njit(**FLAGS)
def serial(v, p):
    for i in range(len(v)):
        project_row(v[i], p[i])


@njit(parallel=True, **FLAGS)
def parallel(v, p):
    for i in prange(len(v)):
        project_row(v[i], p[i])


def project(v: Tensor) -> Tensor:
    """(B, n) -> (B, n), both contiguous."""
    p = torch.empty_like(v)
    launch(serial, serial if len(v) == 1 else parallel, v.numpy(), p.numpy())
    return p
