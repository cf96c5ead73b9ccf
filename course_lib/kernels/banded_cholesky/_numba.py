"""The banded factor row by row: all that can be a vector instruction, and one short recursion.

In a triangular solve the rows that are already known enter as whole rows, one vector loop for each
neighbour. What remains is a recursion along the row, u_j = c_j - sum_a t_a(j) u(j - a), with the
division by the diagonal done beforehand: one multiplication and addition after the other, three
or four cycles a pixel. An image thus costs about as much as reading its factor from memory.
"""

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from course_lib.kernels.backend import numba_threads

# No reordering of sums: the recursion must add its newest term last, or it waits for all of them.
FLAGS = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}
ZERO, ONE = np.float32(0), np.float32(1)  # Python numbers would turn float32 into float64
TAPS = 3  # neighbours in the row that the recursion keeps in registers


@njit(**FLAGS)
def inside(width, column):
    """The first pixel of a row with a neighbour at `column`, and the one after the last."""
    return max(0, -column), min(width, width - column)


@njit(**FLAGS)
def solve_image(d, o, v, radius, u):
    """L u = v, from the first row to the last."""
    height, width = v.shape
    side, m = 2 * radius + 1, len(o)
    rest, taps = np.empty(width, v.dtype), np.zeros((max(radius, TAPS), width), v.dtype)
    for i in range(height):
        rest[:] = v[i]
        for k in range(max(0, radius - i) * side, radius * side):
            row, column = i + k // side - radius, k % side - radius
            first, last = inside(width, column)
            for j in range(first, last):
                rest[j] -= o[k, i, j] * u[row, j + column]
        rest /= d[i]
        for a in range(radius):
            taps[a] = o[m - 1 - a, i] / d[i]
        x1 = x2 = x3 = ZERO * rest[0]
        for j in range(width):
            x = rest[j]
            for a in range(TAPS, min(radius, j)):
                x -= taps[a, j] * u[i, j - 1 - a]
            x = x - taps[2, j] * x3 - taps[1, j] * x2 - taps[0, j] * x1
            u[i, j] = x
            x1, x2, x3 = x, x1, x2


@njit(**FLAGS)
def solve_t_image(d, o, v, radius, u):
    """L^T u = v, from the last row to the first."""
    height, width = v.shape
    side, m = 2 * radius + 1, len(o)
    rest, taps = np.empty(width, v.dtype), np.zeros((max(radius, TAPS), width), v.dtype)
    for i in range(height - 1, -1, -1):
        rest[:] = v[i]
        for k in range(max(0, radius - (height - 1 - i)) * side, radius * side):
            row, column = i - (k // side - radius), radius - k % side
            first, last = inside(width, column)
            for j in range(first, last):
                rest[j] -= o[k, row, j + column] * u[row, j + column]
        rest /= d[i]
        for a in range(min(radius, width - 1)):
            for j in range(width - 1 - a):
                taps[a, j] = o[m - 1 - a, i, j + 1 + a] / d[i, j]
        x1 = x2 = x3 = ZERO * rest[0]
        for j in range(width - 1, -1, -1):
            x = rest[j]
            for a in range(TAPS, min(radius, width - 1 - j)):
                x -= taps[a, j] * u[i, j + 1 + a]
            x = x - taps[2, j] * x3 - taps[1, j] * x2 - taps[0, j] * x1
            u[i, j] = x
            x1, x2, x3 = x, x1, x2


@njit(**FLAGS)
def matvec_image(d, o, x, radius, y):
    height, width = x.shape
    side = 2 * radius + 1
    for i in range(height):
        y[i] = d[i] * x[i]
        for k in range(max(0, radius - i) * side, len(o)):
            row, column = i + k // side - radius, k % side - radius
            first, last = inside(width, column)
            for j in range(first, last):
                y[i, j] += o[k, i, j] * x[row, j + column]


@njit(**FLAGS)
def matvec_t_image(d, o, x, radius, y):
    height, width = x.shape
    side = 2 * radius + 1
    for i in range(height):
        y[i] = d[i] * x[i]
        for k in range(max(0, radius - (height - 1 - i)) * side, len(o)):
            row, column = i - (k // side - radius), radius - k % side
            first, last = inside(width, column)
            for j in range(first, last):
                y[i, j] += o[k, row, j + column] * x[row, j + column]


@njit(**FLAGS)
def outer_image(a, b, radius, d, o):
    """Add a b^T inside the band."""
    height, width = a.shape
    side = 2 * radius + 1
    for i in range(height):
        d[i] += a[i] * b[i]
        for k in range(max(0, radius - i) * side, len(o)):
            row, column = i + k // side - radius, k % side - radius
            first, last = inside(width, column)
            for j in range(first, last):
                o[k, i, j] += a[i, j] * b[row, j + column]


def over_batch(one_image):
    """y from x for all S B images, as one serial and one parallel loop."""

    @njit(**FLAGS)
    def serial(d, o, x, radius, y):
        for n in range(x.shape[0] * x.shape[1]):
            b, s = divmod(n, len(x))
            one_image(d[b], o[b], x[s, b], radius, y[s, b])

    @njit(parallel=True, **FLAGS)
    def parallel(d, o, x, radius, y):
        for n in prange(x.shape[0] * x.shape[1]):
            b, s = divmod(np.int64(n), len(x))
            one_image(d[b], o[b], x[s, b], radius, y[s, b])

    def run(d: Tensor, o: Tensor, x: Tensor, radius: int) -> Tensor:
        y = np.empty(x.shape, as_array(x).dtype)
        launch(serial, parallel, as_array(d), as_array(o), as_array(x), radius, y)
        return torch.from_numpy(y)

    return run


@njit(**FLAGS)
def outer_serial(a, b, radius, d, o):
    for n in range(a.shape[1]):
        for s in range(len(a)):
            outer_image(a[s, n], b[s, n], radius, d[n], o[n])


@njit(parallel=True, **FLAGS)
def outer_parallel(a, b, radius, d, o):
    for n in prange(a.shape[1]):
        for s in range(len(a)):
            outer_image(a[s, n], b[s, n], radius, d[n], o[n])


def launch(serial, parallel, *arguments) -> None:
    threads = torch.get_num_threads()
    if threads == 1:
        serial(*arguments)  # starts no pool of threads: a forked worker could not
    else:
        with numba_threads(threads):
            parallel(*arguments)


def as_array(t: Tensor) -> np.ndarray:
    return t.detach().contiguous().numpy()


matvec, matvec_t = over_batch(matvec_image), over_batch(matvec_t_image)
solve, solve_t = over_batch(solve_image), over_batch(solve_t_image)


def outer(a: Tensor, b: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """sum_s a_s b_s^T inside the band: (B, H, W) and (B, m, H, W)."""
    m = ((2 * radius + 1) ** 2 - 1) // 2
    d, o = a.new_zeros(a.shape[1:]), a.new_zeros(a.shape[1], m, *a.shape[2:])
    launch(outer_serial, outer_parallel, as_array(a), as_array(b), radius, d.numpy(), o.numpy())
    return d, o
