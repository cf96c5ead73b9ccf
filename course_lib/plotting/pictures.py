"""From tensors to pictures: what counts as an image, its labels, and its bytes.

Images are (C, H, W), (1, C, H, W) or (H, W), C = 1 or 3, as torch tensors or numpy arrays. The
caller's tensors are never changed.
"""

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from course_lib.metrics import psnr

ImageLike = Tensor | np.ndarray
Labels = str | Sequence[str] | None


def decibels(*rows: Tensor, truth: Tensor) -> list[str]:
    """Captions for rows of images (B, C, H, W): their PSNR, or "truth" under the truth itself."""
    return [
        "truth" if row is truth else f"{value:.1f} dB"
        for row in rows
        for value in psnr(row, truth).tolist()
    ]


def to_numpy(image: Any) -> np.ndarray:
    """(H, W) or (H, W, 3) float64 copy of an image.

    Raises:
        ValueError: complex values, or not the shape of one image.
    """
    array = torch.as_tensor(image.detach().cpu() if isinstance(image, Tensor) else np.array(image))
    if array.is_complex():
        raise ValueError(
            "expected a real image, got complex values. Draw .abs(), .real or .angle() of it."
        )
    shape = tuple(array.shape)
    array = array[0] if array.ndim == 4 and shape[0] == 1 else array
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[0] not in (1, 3) or 0 in shape:
        hint = (
            "Images are channels-first; try x.movedim(-1, -3)."
            if shape[-1:] in ((1,), (3,))
            else "Show a batch as show_images(batch), one image of it as batch[0]."
        )
        raise ValueError(
            f"expected one image (C, H, W), (1, C, H, W) or (H, W) with C = 1 or 3, "
            f"got shape {shape}. {hint}"
        )
    return array.double().movedim(0, -1).squeeze(-1).numpy().copy()


def named_images(images: Any, titles: Labels) -> tuple[list, list[str]]:
    """One image, a batch, a list or a dict as a list of images and one title each.

    Raises:
        ValueError: no image, another number of titles, or titles for a dict.
    """
    if isinstance(images, dict):
        if titles is not None:
            raise ValueError(
                "titles: the keys of the dict are the titles already; give one or the other."
            )
        images, titles = list(images.values()), list(images)
    elif isinstance(images, ImageLike):
        images = list(images) if images.ndim == 4 else [images]
    images = list(images)
    if not images:
        raise ValueError("expected at least one image, got none.")
    return images, checked_labels(titles, images, "titles") or [""] * len(images)


def checked_labels(labels: Labels, images: list, name: str) -> list[str]:
    """One label an image, or none at all; refuses any other number."""
    labels = [labels] if isinstance(labels, str) else list(labels or [])
    if labels and len(labels) != len(images):
        raise ValueError(
            f"{name}: expected {len(images)} strings, one an image, got {len(labels)}."
        )
    return labels


def psnr_text(image: Any, truth: Any) -> str:
    """The PSNR in dB; "" without a truth, for the truth itself and for an image of another size."""
    if truth is None:
        return ""
    estimate, clean = (
        torch.from_numpy(np.atleast_3d(to_numpy(t))).movedim(-1, 0)[None] for t in (image, truth)
    )
    if estimate.shape != clean.shape or torch.equal(estimate, clean):
        return ""
    return f"{psnr(estimate, clean).item():.2f} dB"


def to_bytes(array: np.ndarray, vmin: float = 0.0, vmax: float = 1.0) -> np.ndarray:
    """Levels 0 to 255 for the values from vmin to vmax; what lies outside is clipped."""
    scaled = (np.nan_to_num(array) - vmin) / (vmax - vmin)
    return np.rint(255 * np.clip(scaled, 0, 1)).astype(np.uint8)


def same_channels(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """All in colour as soon as one is."""
    colour = any(array.ndim == 3 for array in arrays)
    return [
        np.repeat(array[..., None], 3, -1) if colour and array.ndim == 2 else array
        for array in arrays
    ]


def joined(arrays: list[np.ndarray], axis: int, gap: int = 8) -> np.ndarray:
    """Pictures of one size in a row (axis 1) or a column (axis 0), with white gaps between them."""
    white = [(0, gap * (k == axis)) for k in range(arrays[0].ndim)]
    padded = [np.pad(array, white, constant_values=255) for array in arrays[:-1]]
    return np.concatenate([*padded, arrays[-1]], axis)


def encode_png(pixels: np.ndarray) -> bytes:
    """A PNG file of 8-bit pixels."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def data_uri(pixels: np.ndarray) -> str:
    """A PNG file of 8-bit pixels as the address of a picture."""
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode()
