"""The banded factor row by row: vector instructions, and one short recursion.

Images get a border of zeros, r pixels at the top, left and right, so that no neighbour needs a
case of its own. In a triangular solve the rows that are already known enter as whole rows, one
vector loop for each neighbour. What remains is a recursion along the row,
u_j = c_j - sum_a t_a(j) u(j - a), with the division by the diagonal done beforehand: one
multiplication with addition after the other, about four cycles a pixel.

Several images side by side in one vector would hide that wait, but their factors would have to be
interleaved first, which takes about as long as the solve.
"""

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from course_lib.kernels.backend import as_array, launch

# No reordering of sums: the recursion must add its newest term last, or it waits for all of them.
FLAGS = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}
TAPS = 3  # neighbours in the row that the recursion keeps in registers, for radius <= 3
MATVEC, MATVEC_T, SOLVE, SOLVE_T = range(4)


@njit(**FLAGS)
def bordered(x, radius):
    height, width = x.shape
    y = np.zeros((height + radius, width + 2 * radius), x.dtype)
    y[radius:, radius : radius + width] = x
    return y


@njit(forceinline=True, **FLAGS)
def add_product(y, a, b):
    """y += a b, each a row."""
    for j in range(len(y)):
        y[j] += a[j] * b[j]


@njit(forceinline=True, **FLAGS)
def subtract_product(y, a, b):
    for j in range(len(y)):
        y[j] -= a[j] * b[j]


@njit(forceinline=True, **FLAGS)
def divide(y, a, b):
    for j in range(len(y)):
        y[j] = a[j] / b[j]


@njit(**FLAGS)
def matvec_image(d, o, x, radius, y):
    height, width = x.shape
    side, x = 2 * radius + 1, bordered(x, radius)
    y[:] = 0
    for i in range(height):
        add_product(y[i], d[i], x[i + radius, radius : radius + width])
        for k in range(len(o)):
            row, column = i + k // side, k % side
            add_product(y[i], o[k, i], x[row, column : column + width])


@njit(**FLAGS)
def matvec_t_image(d, o, x, radius, y):
    height, width = x.shape
    side, total = 2 * radius + 1, bordered(np.zeros_like(x), radius)
    for i in range(height):
        add_product(total[i + radius, radius : radius + width], d[i], x[i])
        for k in range(len(o)):
            row, column = i + k // side, k % side
            add_product(total[row, column : column + width], o[k, i], x[i])
    y[:] = total[radius:, radius : radius + width]


@njit(**FLAGS)
def solve_image(d, o, v, radius, y):
    """L u = v, from the first row to the last."""
    height, width = v.shape
    side, u = 2 * radius + 1, bordered(v, radius)  # v turns into u
    taps = np.zeros((max(radius, TAPS), width), v.dtype)
    for i in range(height):
        here = u[i + radius, radius : radius + width]
        for k in range(radius * side):
            row, column = i + k // side, k % side
            subtract_product(here, o[k, i], u[row, column : column + width])
        divide(here, here, d[i])
        for a in range(radius):
            divide(taps[a], o[len(o) - 1 - a, i], d[i])
        recur(here, taps, radius)
    y[:] = u[radius:, radius : radius + width]


@njit(forceinline=True, **FLAGS)
def recur(u, taps, radius):
    """u_j <- u_j - sum_a taps_a(j) u(j - 1 - a), in place."""
    x1 = x2 = x3 = u[0] - u[0]
    for j in range(len(u)):
        x = u[j]
        for a in range(TAPS, min(radius, j)):
            x -= taps[a, j] * u[j - 1 - a]
        x = x - taps[2, j] * x3 - taps[1, j] * x2 - taps[0, j] * x1
        u[j] = x
        x1, x2, x3 = x, x1, x2


@njit(**FLAGS)
def solve_t_image(d, o, v, radius, y):
    """L^T u = v, from the last row to the first; a known row is taken off the rows above it."""
    height, width = v.shape
    side, rest = 2 * radius + 1, bordered(v, radius)
    taps = np.zeros((max(radius, TAPS), width), v.dtype)
    for i in range(height - 1, -1, -1):
        here = rest[i + radius, radius : radius + width]
        divide(here, here, d[i])
        for a in range(min(radius, width - 1)):
            divide(taps[a, : width - 1 - a], o[len(o) - 1 - a, i, 1 + a :], d[i])
        recur(here[::-1], taps[:, ::-1], radius)
        for k in range(radius * side):
            row, column = i + k // side, k % side
            subtract_product(rest[row, column : column + width], o[k, i], here)
    y[:] = rest[radius:, radius : radius + width]


@njit(**FLAGS)
def outer_image(a, b, radius, d, o):
    """Add a b^T inside the band."""
    height, width = a.shape
    side, b = 2 * radius + 1, bordered(b, radius)
    for i in range(height):
        add_product(d[i], a[i], b[i + radius, radius : radius + width])
        for k in range(len(o)):
            row, column = i + k // side, k % side
            add_product(o[k, i], a[i], b[row, column : column + width])


@njit(**FLAGS)
def product_image(method, d, o, x, radius, y):
    if method == MATVEC:
        matvec_image(d, o, x, radius, y)
    elif method == MATVEC_T:
        matvec_t_image(d, o, x, radius, y)
    elif method == SOLVE:
        solve_image(d, o, x, radius, y)
    else:
        solve_t_image(d, o, x, radius, y)


@njit(**FLAGS)
def product_serial(method, d, o, x, radius, y):
    for n in range(x.shape[0] * x.shape[1]):
        b, s = divmod(n, len(x))  # images of one factor follow each other: it stays in the cache
        product_image(method, d[b], o[b], x[s, b], radius, y[s, b])


@njit(parallel=True, **FLAGS)
def product_parallel(method, d, o, x, radius, y):
    for n in prange(x.shape[0] * x.shape[1]):
        b, s = divmod(np.int64(n), len(x))
        product_image(method, d[b], o[b], x[s, b], radius, y[s, b])


@njit(**FLAGS)
def outer_serial(a, b, radius, d, o):
    for n in range(len(d)):
        for s in range(len(a)):
            outer_image(a[s, n], b[s, n], radius, d[n], o[n])


@njit(parallel=True, **FLAGS)
def outer_parallel(a, b, radius, d, o):
    for n in prange(len(d)):
        for s in range(len(a)):
            outer_image(a[s, n], b[s, n], radius, d[n], o[n])


def product(method: int, d: Tensor, o: Tensor, x: Tensor, radius: int) -> Tensor:
    d, o, x = map(as_array, (d, o, x))
    y = np.empty_like(x)
    launch(product_serial, product_parallel, method, d, o, x, radius, y)
    return torch.from_numpy(y)


def matvec(d: Tensor, o: Tensor, x: Tensor, radius: int) -> Tensor:
    return product(MATVEC, d, o, x, radius)


def matvec_t(d: Tensor, o: Tensor, x: Tensor, radius: int) -> Tensor:
    return product(MATVEC_T, d, o, x, radius)


def solve(d: Tensor, o: Tensor, v: Tensor, radius: int) -> Tensor:
    return product(SOLVE, d, o, v, radius)


def solve_t(d: Tensor, o: Tensor, v: Tensor, radius: int) -> Tensor:
    return product(SOLVE_T, d, o, v, radius)


def outer(a: Tensor, b: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """sum_s a_s b_s^T inside the band: (B, H, W) and (B, m, H, W)."""
    a, b = map(as_array, (a, b))
    m = ((2 * radius + 1) ** 2 - 1) // 2
    d, o = np.zeros(a.shape[1:], a.dtype), np.zeros((a.shape[1], m, *a.shape[2:]), a.dtype)
    launch(outer_serial, outer_parallel, a, b, radius, d, o)
    return torch.from_numpy(d), torch.from_numpy(o)
