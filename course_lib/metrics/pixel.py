"""Errors counted pixel by pixel."""

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.metrics.images import check_images, image_pair, positive
from course_lib.protocols import ImageMap


def mse(estimate: Tensor, truth: Tensor) -> Float[Tensor, "b"]:
    """Mean square error of each image over channels and pixels, (B, C, H, W) -> (B,)."""
    return _squared_error("mse", estimate, truth)


def rmse(estimate: Tensor, truth: Tensor) -> Float[Tensor, "b"]:
    """Root mean square error of each image, in intensities."""
    return _squared_error("rmse", estimate, truth).sqrt()


def psnr(estimate: Tensor, truth: Tensor, *, data_range: float = 1.0) -> Float[Tensor, "b"]:
    """Peak signal-to-noise ratio of each image, 20 log10(data_range / rmse), in dB.

    Infinite for a perfect estimate. The mean of PSNRs is not the PSNR of the mean error.
    """
    return _decibels(_squared_error("psnr", estimate, truth), data_range)


def at_psnr(x: Tensor, direction: Tensor, level: float) -> Tensor:
    """x + t direction, with t > 0 such that the PSNR of each image is `level` dB."""
    target = 10 ** (-level / 20)
    return x + target * direction / direction.square().mean((1, 2, 3), keepdim=True).sqrt()


def lr_psnr(
    estimate: Tensor, measurement: Tensor, forward: ImageMap, *, data_range: float = 1.0
) -> Float[Tensor, "b"]:
    """Consistency of each estimate with what was measured: the PSNR of A(estimate), in dB.

    The name comes from super-resolution, where A blurs and subsamples and the PSNR is taken
    between low-resolution images. Nothing is rounded; an estimate that was rounded to 8 bits
    cannot exceed -20 log10(norm(h) / (255 sqrt(12))) dB, h the kernel of A.

    Args:
        estimate: (B, C, H, W).
        measurement: y, (B, C, h, w) or one for all, (1, C, h, w).
        forward: the noiseless measurement, for instance `op.A`.
        data_range: the largest minus the smallest value that a measurement may take.
    """
    check_images("lr_psnr", estimate)
    return _decibels(_squared_error("lr_psnr", forward(estimate), measurement), data_range)


def _squared_error(name: str, estimate: Tensor, truth: Tensor) -> Float[Tensor, "b"]:
    estimate, truth = image_pair(name, estimate, truth)
    return (estimate - truth).square().flatten(1).mean(1)


def _decibels(error: Float[Tensor, "b"], data_range: float) -> Float[Tensor, "b"]:
    return 20 * torch.log10(positive(data_range) / error.sqrt())
