"""Smoothed total variation in one pass over memory, row by row.

Each p = grad u / sqrt(eps^2 + |grad u|^2) is computed once and kept until the pixels below and to
the right have used it: a row of p and a row of the image stay in the first-level cache, all else
streams by. With these buffers the new image can be written over the old one. The one loop over a
row becomes vector instructions. Across a "neumann" border the image is repeated, so p is 0 there
and the divergence needs no case of its own.
"""

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from course_lib.kernels.backend import as_array, numba_threads

ZERO, ONE = np.float32(0), np.float32(1)  # Python numbers would turn float32 into float64
# Vector sums and reciprocals may be reordered and approximated to the last bits; NaN and infinity
# keep their meaning. With "numpy" a division needs no check for 0, which would forbid vectors.
FLAGS = {
    "cache": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "afn", "nsz"},
}


@njit(**FLAGS)
def extrapolate(y, k, x, previous, i, beta, periodic):
    """y[k] = x + beta (x - previous) in row i, and one pixel beyond its end."""
    width = x.shape[1]
    for j in range(width):
        y[k, j] = x[i, j] + beta * (x[i, j] - previous[i, j])
    y[k, width] = y[k, 0] if periodic else y[k, width - 1]


@njit(**FLAGS)
def advance(out, v, i, y, down, x, previous, k, beta, keep, step, lam, eps2, periodic):
    """Write row i of the new x, and leave in y and down what the row below needs.

    Before, y is row i of the extrapolated image and down the p of row i - 1; after, y is the row
    below, extrapolated from row k of x and previous, and down is the p of row i.
    """
    width = v.shape[1]
    j = width - 1  # its p enters on the left where the image is periodic, and is 0 where it is not
    d = x[k, j] + beta * (x[k, j] - previous[k, j]) - y[j]
    r = y[width] - y[j]
    left = r / np.sqrt(eps2 + d * d + r * r)
    for j in range(width):
        here, beside = y[j], y[j + 1]
        below = x[k, j] + beta * (x[k, j] - previous[k, j])
        d, r = below - here, beside - here
        scale = ONE / np.sqrt(eps2 + d * d + r * r)
        d, r = d * scale, r * scale
        update = (here - v[i, j]) + lam * ((down[j] - d) + (left - r))
        out[i, j] = keep * here - step * update
        y[j], down[j], left = below, d, r
    y[width] = y[0] if periodic else y[width - 1]


@njit(**FLAGS)
def read_halo(halo, x, previous, beta, periodic, first, last):
    """Row first - 1 and row last of y, before a sweep overwrites them."""
    height = len(x)
    top = (first - 1) % height if periodic else max(first - 1, 0)
    bottom = last % height if periodic else min(last, height - 1)
    extrapolate(halo, 0, x, previous, top, beta, periodic)
    extrapolate(halo, 1, x, previous, bottom, beta, periodic)


@njit(**FLAGS)
def sweep(halo, x, previous, v, beta, keep, step, lam, eps2, periodic, first, last):
    """One step in rows first, ..., last - 1; the new x takes the place of previous.

    new x = keep y - step (y - v + lam grad TV(y)) with y = x + beta (x - previous).
    """
    width = x.shape[1]
    y, down = halo[0].copy(), np.empty(width, x.dtype)
    scalars = (beta, keep, step, lam, eps2, periodic)
    nowhere = np.zeros((1, width), x.dtype)  # the row above belongs to somebody else
    advance(nowhere, nowhere, 0, y, down, x, previous, first, *scalars)
    for i in range(first, last - 1):
        advance(previous, v, i, y, down, x, previous, i + 1, *scalars)
    advance(previous, v, last - 1, y, down, halo, halo, 1, *scalars)


@njit(**FLAGS)
def descend(x, v, keep, step, lam, betas, eps2, periodic):
    """A whole descent of one plane: x (2, H, W), or (1, H, W) where all betas are 0."""
    height, width = v.shape
    halo = np.empty((2, width + 1), v.dtype)
    for k in range(betas.size):
        now, old = x[k % len(x)], x[(k + 1) % len(x)]
        read_halo(halo, now, old, betas[k], periodic, 0, height)
        sweep(halo, now, old, v, betas[k], keep, step, lam, eps2, periodic, 0, height)


@njit(**FLAGS)
def serial(x, v, keep, step, lam, betas, eps2, periodic):
    for n in range(len(v)):
        descend(x[n], v[n], keep, step[n], lam[n], betas[n], eps2, periodic)


@njit(parallel=True, **FLAGS)
def over_planes(x, v, keep, step, lam, betas, eps2, periodic):
    """One plane a thread: they never wait for each other."""
    for n in prange(len(v)):
        descend(x[n], v[n], keep, step[n], lam[n], betas[n], eps2, periodic)


@njit(parallel=True, **FLAGS)
def over_rows(x, v, keep, step, lam, betas, eps2, periodic, chunks):
    """Fewer planes than threads: every step shares out the rows of all planes."""
    planes, height, width = v.shape
    halos = np.empty((planes * chunks, 2, width + 1), v.dtype)
    for k in range(betas.shape[1]):
        now, old = k % x.shape[1], (k + 1) % x.shape[1]
        for item in prange(planes * chunks):
            n, first, last = share(np.int64(item), chunks, height)
            read_halo(halos[item], x[n, now], x[n, old], betas[n, k], periodic, first, last)
        for item in prange(planes * chunks):
            n, first, last = share(np.int64(item), chunks, height)
            sweep(
                halos[item], x[n, now], x[n, old], v[n], betas[n, k],
                keep, step[n], lam[n], eps2, periodic, first, last,
            )  # fmt: skip


@njit(**FLAGS)
def share(item, chunks, height):
    """The plane of a work item, its first row and the row after its last."""
    n, chunk = divmod(item, chunks)
    return n, height * chunk // chunks, height * (chunk + 1) // chunks


@njit(**FLAGS)
def sum_of_norms(u, eps2, periodic):
    """sum of sqrt(eps^2 + |grad u|^2) of each plane, rows added in float64."""
    planes, height, width = u.shape
    total = np.zeros(planes)
    y = np.empty((2, width + 1), u.dtype)
    for n in range(planes):
        extrapolate(y, 0, u[n], u[n], 0, ZERO, periodic)
        for i in range(height):
            here, below = i % 2, (i + 1) % 2
            after = i + 1 if i + 1 < height else (0 if periodic else i)
            extrapolate(y, below, u[n], u[n], after, ZERO, periodic)
            row = ZERO
            for j in range(width):
                d, r = y[below, j] - y[here, j], y[here, j + 1] - y[here, j]
                row += np.sqrt(eps2 + d * d + r * r)
            total[n] += row
    return total


def run(
    x: Tensor, v: Tensor, keep: float, step: Tensor, lam: Tensor, betas: Tensor, eps, boundary
) -> Tensor:
    """`sweep` once for each column of betas (B, n); x and v (B, C, H, W), step and lam (B,)."""
    channels, height, width = v.shape[1:]
    data = as_array(v).reshape(-1, height, width)
    dtype, n_steps = data.dtype, betas.shape[1]
    state = np.empty((len(data), 2 if betas.any() else 1, height, width), dtype)
    state[:] = as_array(x).reshape(-1, 1, height, width)
    per_plane = [np.repeat(as_array(t).astype(dtype), channels, axis=0) for t in (step, lam, betas)]
    arguments = (
        state,
        data,
        dtype.type(keep),
        *per_plane,
        dtype.type(eps) ** 2,
        boundary == "periodic",
    )
    threads = torch.get_num_threads()
    if threads == 1:
        serial(*arguments)  # starts no pool of threads: a forked worker could not
    else:
        with numba_threads(threads):
            if len(data) >= threads:
                over_planes(*arguments)
            else:
                over_rows(*arguments, min(height, -(-threads // len(data))))
    return torch.from_numpy(state[:, n_steps % state.shape[1]].reshape(v.shape))


def value(u: Tensor, eps: float, boundary: str) -> Tensor:
    planes = as_array(u).reshape(-1, *u.shape[-2:])
    total = sum_of_norms(planes, planes.dtype.type(eps) ** 2, boundary == "periodic")
    return torch.from_numpy(total).reshape(u.shape[:2]).sum(1).to(u)


def grad(u: Tensor, eps: float, boundary: str) -> Tensor:
    """keep = 0, step = -1, lam = 1 and v = u leave the gradient alone."""
    zero, one = torch.zeros(len(u)), torch.ones(len(u))
    return run(u, u, 0, -one, one, zero[:, None], eps, boundary)


def denoise(
    v: Tensor, x: Tensor, lam: Tensor, eps: float, step: Tensor, betas: Tensor, boundary: str
) -> Tensor:
    return run(x, v, 1, step, lam, betas.T, eps, boundary)
