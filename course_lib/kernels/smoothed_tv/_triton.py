"""Smoothed total variation on a GPU: one program updates one tile of one plane.

A tile reads its pixels and their six neighbours, which the cache of the processor shares; memory
sees every image once. Scalars come in tensors, because Triton passes Python's as float32.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from course_lib.kernels.backend import interpreting, on_device_of

TILE = (8, 128)  # rows x columns
INTERPRETED_SIDE = 64  # the interpreter takes milliseconds a program


@triton.jit
def load_y(x, previous, beta, offset, mask, MOMENTUM: tl.constexpr):
    """x + beta (x - previous)."""
    now = tl.load(x + offset, mask=mask, other=0)
    if MOMENTUM:
        now += beta * (now - tl.load(previous + offset, mask=mask, other=0))
    return now


@triton.jit
def neighbours(i, size, PERIODIC: tl.constexpr):
    """The indices before and after i; a Neumann border repeats itself."""
    if PERIODIC:
        return tl.where(i == 0, size - 1, i - 1), tl.where(i + 1 >= size, 0, i + 1)
    return tl.where(i == 0, 0, i - 1), tl.where(i + 1 >= size, i, i + 1)


@triton.jit
def tile_indices(height, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """The plane, the rows (ROWS, 1) and the columns (1, COLUMNS) of this program."""
    across, down = tl.cdiv(width, COLUMNS), tl.cdiv(height, ROWS)
    tile = tl.program_id(0)
    i = (tile // across % down) * ROWS + tl.arange(0, ROWS)
    j = (tile % across) * COLUMNS + tl.arange(0, COLUMNS)
    return tile // (across * down), i[:, None], j[None, :]


@triton.jit
def step_kernel(
    x, previous, v, out, scalars, betas, height, width,
    KEEP: tl.constexpr, MOMENTUM: tl.constexpr, PERIODIC: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """out = keep y - step (y - v + lam grad TV(y)), y = x + beta (x - previous)."""
    plane, i, j = tile_indices(height, width, ROWS, COLUMNS)
    mask = (i < height) & (j < width)
    above, below = neighbours(i, height, PERIODIC)
    left, right = neighbours(j, width, PERIODIC)
    start = plane.to(tl.int64) * height * width
    x, previous, v, out = x + start, previous + start, v + start, out + start
    step, lam = tl.load(scalars + 3 * plane), tl.load(scalars + 3 * plane + 1)
    eps2, beta = tl.load(scalars + 3 * plane + 2), tl.load(betas + plane)

    here = load_y(x, previous, beta, i * width + j, mask, MOMENTUM)
    under = load_y(x, previous, beta, below * width + j, mask, MOMENTUM)
    beside = load_y(x, previous, beta, i * width + right, mask, MOMENTUM)
    over = load_y(x, previous, beta, above * width + j, mask, MOMENTUM)
    over_right = load_y(x, previous, beta, above * width + right, mask, MOMENTUM)
    before = load_y(x, previous, beta, i * width + left, mask, MOMENTUM)
    under_left = load_y(x, previous, beta, below * width + left, mask, MOMENTUM)

    d, r = under - here, beside - here
    scale = 1 / tl.sqrt(eps2 + d * d + r * r)
    d_above, r_above = here - over, over_right - over
    from_above = d_above / tl.sqrt(eps2 + d_above * d_above + r_above * r_above)
    d_left, r_left = under_left - before, here - before
    from_left = r_left / tl.sqrt(eps2 + d_left * d_left + r_left * r_left)
    divergence = (from_above - d * scale) + (from_left - r * scale)
    data = tl.load(v + i * width + j, mask=mask, other=0)
    new = -step * ((here - data) + lam * divergence)
    if KEEP:
        new += here
    tl.store(out + i * width + j, new, mask=mask)


@triton.jit
def value_kernel(
    u, out, eps2, height, width,
    PERIODIC: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """out[program] = sum of sqrt(eps^2 + |grad u|^2) over one tile."""
    plane, i, j = tile_indices(height, width, ROWS, COLUMNS)
    mask = (i < height) & (j < width)
    _, below = neighbours(i, height, PERIODIC)
    _, right = neighbours(j, width, PERIODIC)
    u += plane.to(tl.int64) * height * width
    here = tl.load(u + i * width + j, mask=mask, other=0)
    d = tl.load(u + below * width + j, mask=mask, other=0) - here
    r = tl.load(u + i * width + right, mask=mask, other=0) - here
    norm = tl.where(mask, tl.sqrt(tl.load(eps2) + d * d + r * r), 0)
    tl.store(out + tl.program_id(0), tl.sum(norm))


def launch_plan(u: Tensor) -> tuple[tuple[int], dict[str, int], object]:
    """The grid, the tile, and the context in which u's device is the current one."""
    rows, columns = TILE
    height, width = u.shape[-2:]
    if interpreting():
        sides = [triton.next_power_of_2(n) for n in (height, width)]
        rows, columns = (min(side, INTERPRETED_SIDE) for side in sides)
    tiles = triton.cdiv(height, rows) * triton.cdiv(width, columns)
    grid = (u.shape[0] * u.shape[1] * tiles,)
    return grid, {"ROWS": rows, "COLUMNS": columns}, on_device_of(u)


def value(u: Tensor, eps: float, boundary: str) -> Tensor:
    u = u.detach().contiguous()
    grid, tile, device = launch_plan(u)
    sums = u.new_empty(grid)
    with device:
        value_kernel[grid](
            u, sums, u.new_tensor([eps**2]), *u.shape[-2:], PERIODIC=boundary == "periodic", **tile
        )
    return sums.reshape(len(u), -1).sum(1)


def run(
    x: Tensor, v: Tensor, keep: bool, step: Tensor, lam: Tensor, betas: Tensor, eps, boundary
) -> Tensor:
    """`step_kernel` once for each row of betas (n, B); x and v (B, C, H, W), step and lam (B,)."""
    channels = v.shape[1]
    v = v.detach().contiguous()
    scalars = torch.stack((step, lam, torch.full_like(step, eps**2)), 1)
    scalars = scalars.repeat_interleave(channels, 0).to(v)
    momentum = bool(betas.any())
    betas = betas.repeat_interleave(channels, 1).to(v)
    grid, tile, device = launch_plan(v)
    copy = torch.contiguous_format
    turns = [x.detach().clone(memory_format=copy) for _ in range(2 + momentum)]
    with device:
        for k, beta in enumerate(betas):
            # programs read their neighbours' x and previous, so the new x has a place of its own
            now, old, new = (turns[n % len(turns)] for n in (k, k - 1, k + 1))
            step_kernel[grid](
                now, old, v, new, scalars, beta, *v.shape[-2:],
                KEEP=keep, MOMENTUM=momentum, PERIODIC=boundary == "periodic", **tile,
            )  # fmt: skip
    return turns[len(betas) % len(turns)]


def grad(u: Tensor, eps: float, boundary: str) -> Tensor:
    """keep = 0, step = -1, lam = 1 and v = u leave the gradient alone."""
    one = torch.ones(len(u), dtype=torch.float64)
    return run(u, u, False, -one, one, torch.zeros(1, len(u)), eps, boundary)


def denoise(
    v: Tensor, x: Tensor, lam: Tensor, eps: float, step: Tensor, betas: Tensor, boundary: str
) -> Tensor:
    return run(x, v, True, step, lam.detach().to(step), betas, eps, boundary)
