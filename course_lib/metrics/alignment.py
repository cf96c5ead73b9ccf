"""Scores up to a translation, which blind deconvolution cannot know.

With T_s the shift by s pixels, (T_s x, T_-s h) explains a blurred image h * x as well as (x, h)
does. So images and kernels are brought together first.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.fft import irfft2, rfft2

from course_lib.metrics.images import image_pair


def best_shift(estimate: Tensor, truth: Tensor) -> Int64[Tensor, "b 2"]:
    """The periodic shift (rows, columns) of each estimate that brings it nearest to the truth.

    |T_s x - t|^2 = |x|^2 + |t|^2 - 2 <T_s x, t>, and the inner product is, for all s at once, the
    correlation of x and t: two Fourier transforms.

    Args:
        estimate, truth: (B, C, H, W); one truth may serve many estimates.
    """
    estimate, truth = image_pair("best_shift", estimate, truth)
    size = tuple(estimate.shape[-2:])
    match = irfft2((rfft2(estimate).conj() * rfft2(truth)).sum(1), s=size)
    place = match.flatten(1).argmax(1)
    return torch.stack((place // size[1], place % size[1]), dim=1)


def align(estimate: Tensor, truth: Tensor) -> Float[Tensor, "b c h w"]:
    """Each estimate (B, C, H, W), shifted periodically by `best_shift`."""
    return shift_each(estimate, best_shift(estimate, truth))


def shift_each(
    x: Float[Tensor, "b c h w"], shift: Int64[Tensor, "b 2"]
) -> Float[Tensor, "b c h w"]:
    """x.roll with a shift (rows, columns) for each image."""
    b, c, h, w = (torch.arange(n, device=x.device) for n in x.shape)
    rows = (h - shift[:, :1]) % len(h)
    columns = (w - shift[:, 1:]) % len(w)
    images, channels = b[:, None, None, None], c[:, None, None]
    return x[images, channels, rows[:, None, :, None], columns[:, None, None, :]]


def kernel_similarity(
    estimate: Float[Tensor, "b 1 h w"], truth: Float[Tensor, "#b 1 k l"]
) -> Float[Tensor, " b"]:
    """max over shifts s of <T_s h, t> / (|h| |t|): 1 for equal kernels, wherever they stand.

    Kernels are padded with zeros, so that no shift wraps around; they may differ in size. Between
    kernels >= 0 it is never negative: a flat one already has |mean of t| / rms(t).

    Source: Hu & Yang 2012, doi:10.1007/978-3-642-33715-4_5 (maximum of normalised convolution).
    """
    size = [a + b - 1 for a, b in zip(estimate.shape[-2:], truth.shape[-2:], strict=True)]
    match = irfft2(rfft2(estimate, s=size).conj() * rfft2(truth, s=size), s=size)
    lengths = estimate.flatten(1).norm(dim=1) * truth.flatten(1).norm(dim=1)
    return match.flatten(1).amax(1) / lengths
