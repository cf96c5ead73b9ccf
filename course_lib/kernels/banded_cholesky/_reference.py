"""The banded factor as the book writes it: shifts for products, fronts of pixels for solves.

diagonal d (B, H, W), off-diagonals o (B, m, H, W), images (S, B, H, W).
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def causal_offsets(radius: int) -> tuple[tuple[int, int], ...]:
    """(row, column) from a pixel to its causal neighbours, the k-th for channel k.

    These are the pixels of the (2 radius + 1) x (2 radius + 1) patch before its centre, in raster
    order: (-1, -1), (-1, 0), (-1, 1), (0, -1) for radius 1.
    """
    patch = [(i, j) for i in range(-radius, 1) for j in range(-radius, radius + 1)]
    return tuple(offset for offset in patch if offset < (0, 0))


def shift(x: Tensor, row: int, column: int) -> Tensor:
    """y(i) = x(i + (row, column)), 0 where that is outside the image."""
    height, width = x.shape[-2:]
    reach = max(abs(row), abs(column))
    padded = F.pad(x, [reach] * 4)
    top, left = reach + row, reach + column
    return padded[..., top : top + height, left : left + width]


def matvec(d: Tensor, o: Tensor, x: Tensor, radius: int) -> Tensor:
    """d x + sum_k o_k x(. + off_k)."""
    y = d * x
    for k, (row, column) in enumerate(causal_offsets(radius)):
        y = y + o[:, k] * shift(x, row, column)
    return y


def matvec_t(d: Tensor, o: Tensor, x: Tensor, radius: int) -> Tensor:
    """d x + sum_k (o_k x)(. - off_k)."""
    y = d * x
    for k, (row, column) in enumerate(causal_offsets(radius)):
        y = y + shift(o[:, k] * x, -row, -column)
    return y


def solve(d: Tensor, o: Tensor, v: Tensor, radius: int) -> Tensor:
    """L u = v by forward substitution, u_i = (v_i - sum_k o_k(i) u(i + off_k)) / d_i.

    Every causal neighbour of a pixel has a smaller number (radius + 1) row + column. So the pixels
    with one number, a slanted line through the image, are independent and solved at once.
    """
    height, width = v.shape[-2:]
    d, o, v = d.flatten(-2), o.flatten(-2), v.flatten(-2)
    row = torch.arange(height, device=v.device)[:, None].expand(height, width).flatten()
    column = torch.arange(width, device=v.device).repeat(height)
    front = (radius + 1) * row + column
    fronts = front.argsort(stable=True).split(front.bincount().tolist())
    neighbours = neighbour_indices(row, column, height, width, radius)
    u = F.pad(torch.zeros_like(v), (0, 1))  # the last entry stands for all that is outside
    for pixels in fronts:
        known = (o[..., pixels] * u[..., neighbours[:, pixels]]).sum(-2)
        u[..., pixels] = (v[..., pixels] - known) / d[..., pixels]
    return u[..., :-1].unflatten(-1, (height, width))


def neighbour_indices(row: Tensor, column: Tensor, height: int, width: int, radius: int) -> Tensor:
    """(m, H W): the raster index of neighbour k of each pixel, or H W where it is outside."""
    offsets = torch.tensor(causal_offsets(radius), device=row.device, dtype=torch.long)
    offsets = offsets.reshape(-1, 2, 1)
    i, j = row + offsets[:, 0], column + offsets[:, 1]
    inside = (i >= 0) & (j >= 0) & (j < width)
    return torch.where(inside, i * width + j, height * width)


def solve_t(d: Tensor, o: Tensor, v: Tensor, radius: int) -> Tensor:
    """L^T u = v by back substitution.

    L^T read from the last pixel to the first is again lower triangular, with the same neighbours:
    the entry that links j to its neighbour at off_k there is o_k(j - off_k) here.
    """
    moved = torch.empty_like(o)
    for k, (row, column) in enumerate(causal_offsets(radius)):
        moved[:, k] = shift(o[:, k], -row, -column)
    d, o, v = (t.flip(-2, -1) for t in (d, moved, v))
    return solve(d, o, v, radius).flip(-2, -1)


def outer(a: Tensor, b: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """sum_s a_s b_s^T inside the band: (B, H, W) and (B, m, H, W)."""
    offsets = causal_offsets(radius)
    o = a.new_empty(a.shape[1], len(offsets), *a.shape[-2:])
    for k, (row, column) in enumerate(offsets):
        o[:, k] = (a * shift(b, row, column)).sum(0)
    return (a * b).sum(0), o
