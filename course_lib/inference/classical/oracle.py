"""Smoothed total variation with the best setting for each image, chosen by looking at the truth.

An oracle is a bound on all ways to choose a setting, not a method: a learned prior that beats it
beats total variation for a better reason than tuning.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

import torch
from jaxtyping import Float, Int64
from scipy.ndimage import median_filter
from torch import Tensor

from course_lib.batch import per_image
from course_lib.functionals import LeastSquares, MaskedLeastSquares, SmoothedTV
from course_lib.kernels.smoothed_tv import smoothed_tv_denoise
from course_lib.metrics import psnr
from course_lib.operators import LinearOperator
from course_lib.solvers import accelerated_gradient


def best_by_psnr(
    candidates: Iterable[Tensor], x_true: Float[Tensor, "b c h w"]
) -> tuple[Float[Tensor, "b c h w"], Int64[Tensor, " b"]]:
    """For each image the candidate of highest PSNR, and its index (the first one of equals)."""
    score = torch.full((len(x_true),), -torch.inf, dtype=x_true.dtype)
    best, index = torch.zeros_like(x_true), torch.zeros(len(x_true), dtype=torch.int64)
    for k, x in enumerate(candidates):
        quality = psnr(x, x_true)
        better = quality > score
        score = torch.where(better, quality, score)
        best = torch.where(per_image(better, x), x, best)
        index = torch.where(better, k, index)
    return best, index


def oracle_tv_denoising(
    y: Float[Tensor, "b c h w"],
    x_true: Float[Tensor, "b c h w"],
    sigma: float,
    epsilons: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, " b"]]:
    """Denoising with the best (lam, eps) of a grid: the estimates, and eps (inf where y is best).

    Far below eps the penalty is lam / (2 eps) |grad u|^2, so the grid of lam grows with eps.
    """
    scales = torch.logspace(-0.7, 0.7, 15).tolist()
    grid = [(scale * (sigma / 2 + eps), eps) for eps in epsilons for scale in scales]
    candidates = (smoothed_tv_denoise(y, lam, eps, 150) for lam, eps in grid)
    x, index = best_by_psnr(chain([y], candidates), x_true)
    return x, torch.tensor([torch.inf, *(eps for _, eps in grid)])[index]


def oracle_total_variation(
    op: LinearOperator,
    y: Tensor,
    x_true: Float[Tensor, "b c h w"],
    lams: Iterable[float] = tuple(10 ** (-k / 2) for k in range(9)),
) -> Float[Tensor, "b c h w"]:
    """argmin_u |A u - y|^2 / 2 + lam TV(u) with the best lam of a falling sequence, eps 0.005.

    Each minimisation starts from the one before it, the first from A^+ y.
    """

    def path() -> Iterator[Tensor]:
        u, data_fidelity = op.A_dagger(y), LeastSquares(op, y)
        for lam in lams:
            f = data_fidelity + SmoothedTV(lam, eps=0.005)
            u = accelerated_gradient(f, u, max_iter=400, rtol=1e-5).x
            yield u

    return best_by_psnr(path(), x_true)[0]


def oracle_median_tv(
    y: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"], x_true: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b c h w"]:
    """Restoration of old photographs: a median filter, then smoothed TV that may fill the holes.

    Args:
        y: damaged images.
        mask: 1 where pixels are lost.
        x_true: the images before the damage, which choose the size of the filter, the weight, and
            whether lost pixels are filled.
    """

    def settings() -> Iterator[Tensor]:
        for size in (1, 3, 5):
            window = (1, 1, size, size)
            smooth = torch.from_numpy(median_filter(y.numpy(), size=window, mode="reflect"))
            for lost in (mask, torch.zeros_like(mask)):
                for lam in (0.01, 0.03, 0.1, 0.3):
                    f = MaskedLeastSquares(smooth, 1 - lost) + SmoothedTV(lam, eps=0.02)
                    yield accelerated_gradient(f, smooth, max_iter=150, rtol=1e-4).x

    return best_by_psnr(chain([y], settings()), x_true)[0]
