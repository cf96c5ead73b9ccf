"""The banded factor on a GPU: products tile by tile, a solve along its fronts, one image a program.

A front, the pixels with one number (radius + 1) row + column, is one vector of a program; a barrier
separates it from the next. L^T is solved the same way with the pixels counted from the last one.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from course_lib.kernels.backend import interpreting, on_device_of

BLOCK = 512  # pixels that a program of a product works on
INTERPRETED_BLOCK = 2**16  # the interpreter takes milliseconds a program


@triton.jit
def product_kernel(
    d, o, x, y, batch, height, width,
    TRANSPOSED: tl.constexpr, RADIUS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y = L x, or L^T x, on one block of pixels of one image."""
    SIDE: tl.constexpr = 2 * RADIUS + 1
    SIGN: tl.constexpr = -1 if TRANSPOSED else 1
    pixels = height * width
    here = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    image = tl.program_id(1).to(tl.int64)
    factor = image % batch
    x, y, d = x + image * pixels, y + image * pixels, d + factor * pixels
    o += factor * pixels * (RADIUS * SIDE + RADIUS)
    i, j, mask = here // width, here % width, here < pixels
    total = tl.load(d + here, mask=mask, other=0) * tl.load(x + here, mask=mask, other=0)
    for k in tl.static_range(RADIUS * SIDE + RADIUS):
        row = i + SIGN * (k // SIDE - RADIUS)
        column = j + SIGN * (k % SIDE - RADIUS)
        near = mask & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        there = row * width + column
        link = o + k * pixels + (there if TRANSPOSED else here)
        total += tl.load(link, mask=near, other=0) * tl.load(x + there, mask=near, other=0)
    tl.store(y + here, total, mask=mask)


@triton.jit
def solve_kernel(
    d, o, v, u, batch, height, width,
    TRANSPOSED: tl.constexpr, RADIUS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """L u = v, or L^T u = v, for one image; BLOCK is at least the length of a front.

    For L^T, (i, j) counts rows and columns from the last pixel.
    """
    SIDE: tl.constexpr = 2 * RADIUS + 1
    pixels = height * width
    image = tl.program_id(0).to(tl.int64)
    factor = image % batch
    v, u, d = v + image * pixels, u + image * pixels, d + factor * pixels
    o += factor * pixels * (RADIUS * SIDE + RADIUS)
    for front in range((RADIUS + 1) * (height - 1) + width):
        # the first row that this front meets: below it, the columns would lie beyond the image
        first = tl.maximum(front - width + RADIUS + 1, 0) // (RADIUS + 1)
        i = first + tl.arange(0, BLOCK)
        j = front - (RADIUS + 1) * i
        mask = (i < height) & (j >= 0)
        here = i * width + j
        here = pixels - 1 - here if TRANSPOSED else here
        total = tl.load(v + here, mask=mask, other=0)
        for k in tl.static_range(RADIUS * SIDE + RADIUS):
            row, column = i + (k // SIDE - RADIUS), j + (k % SIDE - RADIUS)
            near = mask & (row >= 0) & (column >= 0) & (column < width)
            there = row * width + column
            there = pixels - 1 - there if TRANSPOSED else there
            link = o + k * pixels + (there if TRANSPOSED else here)
            total -= tl.load(link, mask=near, other=0) * tl.load(u + there, mask=near, other=0)
        tl.store(u + here, total / tl.load(d + here, mask=mask, other=1), mask=mask)
        tl.debug_barrier()  # the next front reads what other threads have stored


@triton.jit
def outer_kernel(
    a, b, d, o, samples, batch, height, width, RADIUS: tl.constexpr, BLOCK: tl.constexpr
):
    """One channel of sum_s a_s b_s^T on one block of pixels; the last channel is the diagonal."""
    SIDE: tl.constexpr = 2 * RADIUS + 1
    M: tl.constexpr = RADIUS * SIDE + RADIUS
    pixels = height * width
    here = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    factor, k = tl.program_id(1).to(tl.int64), tl.program_id(2)
    row, column = here // width + k // SIDE - RADIUS, here % width + k % SIDE - RADIUS
    mask = here < pixels
    near = mask & (row >= 0) & (column >= 0) & (column < width)
    there = row * width + column
    a, b = a + factor * pixels, b + factor * pixels
    total = tl.load(a + here, mask=mask, other=0) * 0
    for _ in range(samples):
        total += tl.load(a + here, mask=near, other=0) * tl.load(b + there, mask=near, other=0)
        a += batch * pixels
        b += batch * pixels
    if k == M:
        tl.store(d + factor * pixels + here, total, mask=mask)
    else:
        tl.store(o + (factor * M + k) * pixels + here, total, mask=mask)


def block_of(pixels: int) -> int:
    return min(triton.next_power_of_2(pixels), INTERPRETED_BLOCK if interpreting() else BLOCK)


def product(d: Tensor, o: Tensor, x: Tensor, radius: int, transposed: bool) -> Tensor:
    d, o, x = (t.detach().contiguous() for t in (d, o, x))
    samples, batch, height, width = x.shape
    y, block = torch.empty_like(x), block_of(height * width)
    grid = (triton.cdiv(height * width, block), samples * batch)
    with on_device_of(x):
        product_kernel[grid](
            d, o, x, y, batch, height, width, TRANSPOSED=transposed, RADIUS=radius, BLOCK=block
        )
    return y


def substitution(d: Tensor, o: Tensor, v: Tensor, radius: int, transposed: bool) -> Tensor:
    d, o, v = (t.detach().contiguous() for t in (d, o, v))
    samples, batch, height, width = v.shape
    u = torch.empty_like(v)
    block = triton.next_power_of_2(min(height, triton.cdiv(width, radius + 1)))
    with on_device_of(v):
        solve_kernel[(samples * batch,)](
            d, o, v, u, batch, height, width,
            TRANSPOSED=transposed, RADIUS=radius, BLOCK=block,
            num_warps=min(max(block // 32, 1), 8),
        )  # fmt: skip
    return u


def matvec(d: Tensor, o: Tensor, x: Tensor, radius: int) -> Tensor:
    return product(d, o, x, radius, transposed=False)


def matvec_t(d: Tensor, o: Tensor, x: Tensor, radius: int) -> Tensor:
    return product(d, o, x, radius, transposed=True)


def solve(d: Tensor, o: Tensor, v: Tensor, radius: int) -> Tensor:
    return substitution(d, o, v, radius, transposed=False)


def solve_t(d: Tensor, o: Tensor, v: Tensor, radius: int) -> Tensor:
    return substitution(d, o, v, radius, transposed=True)


def outer(a: Tensor, b: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """sum_s a_s b_s^T inside the band: (B, H, W) and (B, m, H, W)."""
    a, b = (t.detach().contiguous() for t in (a, b))
    samples, batch, height, width = a.shape
    m, block = ((2 * radius + 1) ** 2 - 1) // 2, block_of(height * width)
    d, o = a.new_empty(a.shape[1:]), a.new_empty(batch, m, height, width)
    grid = (triton.cdiv(height * width, block), batch, m + 1)
    with on_device_of(a):
        outer_kernel[grid](a, b, d, o, samples, batch, height, width, RADIUS=radius, BLOCK=block)
    return d, o
