"""Arithmetic on batches: one number per image, (B,), beside images (B, ...)."""

import torch
from torch import Tensor

from course_lib.protocols import ImageSize


def image_size(x: Tensor) -> ImageSize:
    """(C, H, W) of images (..., C, H, W)."""
    c, h, w = x.shape[-3:]
    return c, h, w


def image_sides(x: Tensor) -> tuple[int, int]:
    """(H, W) of images (..., H, W)."""
    h, w = x.shape[-2:]
    return h, w


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """Reshape (B,) so that it multiplies (B, ...)."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each image of a batch: (B, ...), (B, ...) -> (B,)."""
    return total(a * b)


def total(a: Tensor) -> Tensor:
    """Sum over each image of a batch: (B, ...) -> (B,)."""
    return a.flatten(1).sum(1)


def norm(a: Tensor) -> Tensor:
    """Euclidean norm of each image of a batch: (B, ...) -> (B,)."""
    return inner(a, a).sqrt()


def ratio(a: Tensor, b: Tensor, valid: Tensor) -> Tensor:
    """a / b where valid, else 0, without a division by 0: three times (B,) -> (B,)."""
    return torch.where(valid, a / torch.where(valid, b, 1), 0)
