"""Checks of images that all metrics share, and the conversion between [0, 1] and [-1, 1]."""

from jaxtyping import Float
from torch import Tensor

from course_lib.validation import check_tensor


def image_pair(name: str, estimate: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Both as (B, C, H, W); one truth may serve many estimates."""
    check_images(name, estimate)
    check_images(name, truth)
    if estimate.shape[1:] != truth.shape[1:] or len(truth) not in (1, len(estimate)):
        raise ValueError(
            f"{name}: the estimate has shape {tuple(estimate.shape)}, the truth "
            f"{tuple(truth.shape)}; they must agree (one truth may serve a batch of estimates)."
        )
    return estimate, truth.expand_as(estimate)


def check_images(name: str, images: Tensor) -> None:
    """Refuse what is not a batch (B, C, H, W) of floating-point images."""
    check_tensor(name, images)
    if not images.is_floating_point():
        raise TypeError(
            f"{name}: expected floating-point images, got {images.dtype}. "
            "For 8-bit images use x.float() / 255."
        )
    if images.ndim != 4:
        raise ValueError(
            f"{name}: expected images of shape (B, C, H, W), got {tuple(images.shape)}. "
            "Use x.unsqueeze(0) for a single image."
        )


def check_channels(name: str, images: Tensor) -> None:
    """Refuse what is neither grey nor colour."""
    if images.shape[1] not in (1, 3):
        raise ValueError(
            f"{name}: expected 1 (grey) or 3 (colour) channels, got {images.shape[1]} in an image "
            f"batch of shape {tuple(images.shape)}."
        )


def positive(data_range: float) -> float:
    """The data range, once it is known to be one."""
    if not data_range > 0:
        raise ValueError(f"data_range must be positive, got {data_range}; images in [0, 1] have 1.")
    return data_range


def unit_to_signed(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """From [0, 1], the range of this library, to the [-1, 1] that many networks expect."""
    return 2 * x - 1


def signed_to_unit(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """From [-1, 1] back to [0, 1]: the inverse of `unit_to_signed`."""
    return (x + 1) / 2
