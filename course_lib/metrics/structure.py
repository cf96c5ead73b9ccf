"""Structural similarity: local means, variances and covariances under a Gaussian window.

Wang, Bovik, Sheikh & Simoncelli 2004, doi:10.1109/TIP.2003.819861; several scales: Wang,
Simoncelli & Bovik 2003, doi:10.1109/ACSSC.2003.1292216.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from course_lib.metrics.images import image_pair, positive

WINDOW, STD = 11, 1.5  # pixels
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest scale first


class SsimFactors(NamedTuple):
    """The three comparisons, one value a window: (B, C, H - 10, W - 10)."""

    luminance: Float[Tensor, "b c h w"]
    contrast: Float[Tensor, "b c h w"]
    structure: Float[Tensor, "b c h w"]


def ssim(estimate: Tensor, truth: Tensor, *, data_range: float = 1.0) -> Float[Tensor, "b"]:
    """Structural similarity of each image, in [-1, 1]; colour images average their channels.

    Gaussian windows of standard deviation 1.5 on 11 x 11 pixels, c1 = (0.01 range)^2,
    c2 = (0.03 range)^2, population covariances, mean over the windows that lie inside: equal to
    scikit-image with gaussian_weights=True, sigma=1.5, use_sample_covariance=False.

    Raises:
        ValueError: an image is smaller than the 11 x 11 window.
    """
    luminance, similarity = _luminance_and_contrast_structure("ssim", estimate, truth, data_range)
    return (luminance * similarity).flatten(1).mean(1)


def ssim_factors(estimate: Tensor, truth: Tensor, *, data_range: float = 1.0) -> SsimFactors:
    """Luminance, contrast and structure; with c3 = c2 / 2 their product averages to `ssim`.

    With local means m, standard deviations s and covariance s_xy,
    l = (2 m_x m_y + c1) / (m_x^2 + m_y^2 + c1), c = (2 s_x s_y + c2) / (s_x^2 + s_y^2 + c2) and
    s = (s_xy + c3) / (s_x s_y + c3). Contrast lies in (0, 1], structure in [-1, 1], luminance in
    (0, 1] where no mean is negative.

    Raises:
        ValueError: an image is smaller than the 11 x 11 window.
    """
    m = _moments("ssim_factors", estimate, truth)
    c1, c2 = _constants(data_range)
    product = (m.variance_x.clamp(min=0) * m.variance_y.clamp(min=0)).sqrt()  # rounding only
    return SsimFactors(
        luminance=(2 * m.mean_x * m.mean_y + c1) / (m.mean_x**2 + m.mean_y**2 + c1),
        contrast=(2 * product + c2) / (m.variance_x + m.variance_y + c2),
        structure=(m.covariance + c2 / 2) / (product + c2 / 2),
    )


def ms_ssim(
    estimate: Tensor, truth: Tensor, *, data_range: float = 1.0, scales: int = 5
) -> Float[Tensor, "b"]:
    """Structural similarity over several scales, in [0, 1]; colour images average their channels.

    The product over scales j of mean(contrast-structure)^w_j, the coarsest scale with its
    luminance as well. Each coarser image halves the last one by means of 2 x 2 pixels (of what
    there is of them at the border). A negative mean counts as 0: it has no real power.

    Args:
        scales: number of the published five, from the finest; fewer than five have their weights
            renormalised to sum to 1, and are another figure than the published one.

    Raises:
        ValueError: the coarsest image is smaller than the window: 5 scales need 161 pixels.
    """
    if scales not in range(1, len(SCALE_WEIGHTS) + 1):
        raise ValueError(f"ms_ssim: expected scales from 1 to {len(SCALE_WEIGHTS)}, got {scales}.")
    x, y = image_pair("ms_ssim", estimate, truth)
    _check_room_for_scales(min(x.shape[-2:]), scales)
    means = []
    for scale in range(scales):
        if scale > 0:
            x, y = _half(x), _half(y)
        luminance, similarity = _luminance_and_contrast_structure("ms_ssim", x, y, data_range)
        coarsest = scale == scales - 1
        means.append((luminance * similarity if coarsest else similarity).mean((2, 3)))
    weights = x.new_tensor(SCALE_WEIGHTS[:scales])
    if scales < len(SCALE_WEIGHTS):
        weights = weights / weights.sum()
    return _weighted_product(torch.stack(means, -1), weights).mean(1)


class _Moments(NamedTuple):
    mean_x: Tensor
    mean_y: Tensor
    variance_x: Tensor
    variance_y: Tensor
    covariance: Tensor


def _moments(name: str, estimate: Tensor, truth: Tensor) -> _Moments:
    x, y = image_pair(name, estimate, truth)
    if min(x.shape[-2:]) < WINDOW:
        raise ValueError(
            f"{name}: the window is 11 x 11 pixels, the image only {x.shape[-2]} x {x.shape[-1]}."
        )
    mean_x, mean_y, xx, yy, xy = (_window(u) for u in (x, y, x * x, y * y, x * y))
    return _Moments(mean_x, mean_y, xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y)


def _luminance_and_contrast_structure(
    name: str, estimate: Tensor, truth: Tensor, data_range: float
) -> tuple[Tensor, Tensor]:
    """The two factors into which the three merge when c3 = c2 / 2."""
    m = _moments(name, estimate, truth)
    c1, c2 = _constants(data_range)
    luminance = (2 * m.mean_x * m.mean_y + c1) / (m.mean_x**2 + m.mean_y**2 + c1)
    return luminance, (2 * m.covariance + c2) / (m.variance_x + m.variance_y + c2)


def _constants(data_range: float) -> tuple[float, float]:
    return (0.01 * positive(data_range)) ** 2, (0.03 * data_range) ** 2


def _window(u: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h1 w1"]:
    """Local means under the Gaussian window, only where it fits."""
    t = torch.arange(WINDOW, dtype=u.dtype, device=u.device) - WINDOW // 2
    g = torch.exp(-t.square() / (2 * STD**2))
    g = (g / g.sum()).expand(u.shape[1], 1, 1, WINDOW)
    rows = conv2d(u, g.transpose(2, 3), groups=u.shape[1])
    return conv2d(rows, g, groups=u.shape[1])


def _half(u: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h1 w1"]:
    return avg_pool2d(u, 2, ceil_mode=True, count_include_pad=False)


def _weighted_product(
    means: Float[Tensor, "b c scales"], weights: Float[Tensor, "scales"]
) -> Float[Tensor, "b c"]:
    """Product of means^weights, 0 as soon as one mean is not positive, with a finite gradient."""
    is_positive = means > 0
    logarithm = torch.where(is_positive, means, 1).log()
    return is_positive.all(-1) * (weights * logarithm).sum(-1).exp()


def _check_room_for_scales(side: int, scales: int) -> None:
    def needed(s: int) -> int:
        return (WINDOW - 1) * 2 ** (s - 1) + 1

    if side < needed(scales):
        fitting = [s for s in range(1, scales) if side >= needed(s)]
        remedy = (
            f"Use scales={fitting[-1]}: the weights are renormalised, so say so beside the figure."
            if fitting
            else "The window of one scale does not fit either."
        )
        raise ValueError(
            f"ms_ssim: {scales} scales need at least {needed(scales)} pixels a side, the image has "
            f"only {side}. {remedy}"
        )
