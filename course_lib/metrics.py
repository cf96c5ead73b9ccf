"""How far an estimate is from the truth: one value per image, the estimate first.

Images live in [0, 1] and nothing is clipped or quantised: an estimate that leaves the range is
judged as it is.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d


def mse(estimate: Tensor, truth: Tensor) -> Float[Tensor, "batch"]:
    """Mean square error of each image over channels and pixels, (B, C, H, W) -> (B,)."""
    return _squared_error("mse", estimate, truth)


def rmse(estimate: Tensor, truth: Tensor) -> Float[Tensor, "batch"]:
    """Root mean square error of each image, in intensities."""
    return _squared_error("rmse", estimate, truth).sqrt()


def psnr(estimate: Tensor, truth: Tensor, *, data_range: float = 1.0) -> Float[Tensor, "batch"]:
    """Peak signal-to-noise ratio of each image, 20 log10(data_range / rmse), in dB.

    Infinite for a perfect estimate. The mean of PSNRs is not the PSNR of the mean error.
    """
    error = _squared_error("psnr", estimate, truth)
    return 20 * torch.log10(_positive(data_range) / error.sqrt())


def ssim(estimate: Tensor, truth: Tensor, *, data_range: float = 1.0) -> Float[Tensor, "batch"]:
    """Structural similarity of each image, in [-1, 1]; colour images average their channels.

    Gaussian windows of standard deviation 1.5 on 11 x 11 pixels, c1 = (0.01 range)^2,
    c2 = (0.03 range)^2, population covariances, mean over the windows that lie inside: equal to
    scikit-image with gaussian_weights=True, sigma=1.5, use_sample_covariance=False.

    Raises:
        ValueError: an image is smaller than the 11 x 11 window.

    Source: Wang, Bovik, Sheikh & Simoncelli 2004, doi:10.1109/TIP.2003.819861.
    """
    x, y = _pair("ssim", estimate, truth)
    if min(x.shape[-2:]) < 11:
        raise ValueError(
            f"ssim: the window is 11 x 11 pixels, the image only {x.shape[-2]} x {x.shape[-1]}."
        )
    c1, c2 = (0.01 * _positive(data_range)) ** 2, (0.03 * data_range) ** 2
    mean_x, mean_y, xx, yy, xy = (_window(u) for u in (x, y, x * x, y * y, x * y))
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    covariance, variances = xy - mean_x * mean_y, xx - mean_x**2 + yy - mean_y**2
    return (luminance * (2 * covariance + c2) / (variances + c2)).flatten(1).mean(1)


def _squared_error(name: str, estimate: Tensor, truth: Tensor) -> Float[Tensor, "batch"]:
    estimate, truth = _pair(name, estimate, truth)
    return (estimate - truth).square().flatten(1).mean(1)


def _window(u: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h1 w1"]:
    """Local means under the Gaussian window, only where it fits."""
    t = torch.arange(-5, 6, dtype=u.dtype, device=u.device)
    g = torch.exp(-t.square() / (2 * 1.5**2))
    g = (g / g.sum()).expand(u.shape[1], 1, 1, 11)
    rows = conv2d(u, g.transpose(2, 3), groups=u.shape[1])
    return conv2d(rows, g, groups=u.shape[1])


def _pair(name: str, estimate: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Both as (B, C, H, W); one truth may serve many estimates."""
    if not (estimate.is_floating_point() and truth.is_floating_point()):
        raise TypeError(
            f"{name}: expected floating-point images, got {estimate.dtype} and {truth.dtype}. "
            "For 8-bit images use x.float() / 255."
        )
    if estimate.ndim != 4 or truth.ndim != 4:
        raise ValueError(
            f"{name}: expected images of shape (B, C, H, W), got {tuple(estimate.shape)} and "
            f"{tuple(truth.shape)}. Use x.unsqueeze(0) for a single image."
        )
    if estimate.shape[1:] != truth.shape[1:] or len(truth) not in (1, len(estimate)):
        raise ValueError(
            f"{name}: the estimate has shape {tuple(estimate.shape)}, the truth "
            f"{tuple(truth.shape)}; they must agree (one truth may serve a batch of estimates)."
        )
    return estimate, truth.expand_as(estimate)


def _positive(data_range: float) -> float:
    if not data_range > 0:
        raise ValueError(f"data_range must be positive, got {data_range}; images in [0, 1] have 1.")
    return data_range
