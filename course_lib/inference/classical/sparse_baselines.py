"""Sparse recovery, with the weight tuned on other images of the same world."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.functionals import DCT, LeastSquares, SmoothedTV, Sparsity, Wavelets
from course_lib.metrics import psnr
from course_lib.operators import LinearOperator
from course_lib.solvers import Solution, accelerated_gradient, accelerated_proximal_gradient

PER_DECADE = 2  # weights tried; with twice as many the best gains a tenth of a dB
STRONGEST = {"lasso_dct": 10.0, "lasso_wavelets": 10.0, "tv": 1.0}  # images become nearly flat
EPS = 0.005  # of smoothed total variation: far below the steps at edges, yet L stays moderate
ROUGHLY = {"max_iter": 300, "rtol": 1e-4}  # enough to compare weights
WELL = {"max_iter": 1000, "rtol": 5e-5}

Solver = Callable[..., Solution]  # (data_fidelity, lam, x0, max_iter, rtol)


class Baseline(NamedTuple):
    """Estimates of one method, with the weight that served the tuning images best.

    Attributes:
        x: estimates (B, C, H, W), cut to [0, 1].
        lam: the chosen weight.
        tuning: mean PSNR of the tuning images, in dB, for each weight that was tried.
    """

    x: Tensor
    lam: float
    tuning: dict[float, float]


def tuned_baselines(
    op: LinearOperator,
    y: Tensor,
    tuning_y: Tensor,
    tuning_x: Float[Tensor, "t c h w"],
    *,
    sigma: float,
    wavelet: str = "sym4",
) -> dict[str, Baseline]:
    """Lasso in the DCT and in wavelets, and smoothed total variation, each with its best weight.

    All minimise |A u - y|^2 / 2 + lam R(u), with one lam for all images: the one with the best
    mean PSNR on other images of the same world. R leaves the mean brightness free.

    Args:
        op: a linear operator for which |A u| is about |u|, such as `CompressedSensing`.
        y: measurements to recover images from, (B, *op.measurement_size).
        tuning_y: measurements by the same op of other images, (T, *op.measurement_size).
        tuning_x: these images, (T, C, H, W) in [0, 1].
        sigma: standard deviation of the noise in y; a tenth of it is the least weight.
        wavelet: as in `Wavelets`.

    Returns:
        "lasso_dct", "lasso_wavelets" and "tv".

    Raises:
        ValueError: sigma <= 0, or shapes that do not fit.
    """
    if len(tuning_x) != len(tuning_y):
        raise ValueError(
            f"tuned_baselines: expected an image for each measurement to tune on, got "
            f"{len(tuning_x)} images for {len(tuning_y)} measurements."
        )
    if not 0 < sigma <= 1:
        raise ValueError(
            f"tuned_baselines: expected 0 < sigma <= 1, the noise in y of images in [0, 1], got "
            f"{sigma}. For data without noise give the least residual that matters, say 0.001."
        )
    fit = _Fit(op, y)
    methods = {
        "lasso_dct": _lasso(DCT(op.img_size), fit.lipschitz),
        "lasso_wavelets": _lasso(Wavelets(op.img_size, wavelet), fit.lipschitz),
        "tv": _tv(fit.lipschitz),
    }
    baselines = {}
    for name, solve in methods.items():
        weights = falling_weights(STRONGEST[name], sigma / 10)
        scores = tune(solve, _Fit(op, tuning_y), tuning_x, weights)
        lam = max(scores, key=lambda lam: scores[lam])
        x = torch.full((len(y), *op.img_size), 0.5).to(y)
        for weight in (10 * lam, lam):
            x = solve(fit, weight, x, **WELL).x
        baselines[name] = Baseline(x.clamp(0, 1), lam, scores)
    return baselines


class _Fit(LeastSquares):
    """Least squares without its value, which only histories show, at a third of the cost."""

    def __call__(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x))


def tune(
    solve: Solver, fit: LeastSquares, x_true: Float[Tensor, "t c h w"], weights: Iterable[float]
) -> dict[float, float]:
    """Weight -> mean PSNR in dB, each solution starting from where the last one ended.

    Weights fall: few coefficients first, and a good start whenever more of them enter. The path
    ends where the score has fallen 0.2 dB below the best: smaller weights fit the noise.
    """
    x, scores = torch.full_like(x_true, 0.5), {}
    for lam in weights:
        x = solve(fit, lam, x, **ROUGHLY).x
        scores[lam] = psnr(x.clamp(0, 1), x_true).mean().item()
        if scores[lam] < max(scores.values()) - 0.2:
            break
    return scores


def falling_weights(strongest: float, least: float) -> list[float]:
    """Weights from `strongest` down to `least` or a little above, PER_DECADE of them a decade."""
    count = math.floor(PER_DECADE * math.log10(strongest / least)) + 1
    return [strongest * 10 ** (-k / PER_DECADE) for k in range(count)]


def _lasso(transform: DCT | Wavelets, lipschitz: float) -> Solver:
    """|A u - y|^2 / 2 + lam |Psi u|_1, the mean brightness left free."""

    def solve(fit: LeastSquares, lam: float, x: Tensor, **accuracy: Any) -> Solution:
        penalty = Sparsity(lam, transform, spare_coarsest=True)
        step = 1 / lipschitz
        return accelerated_proximal_gradient(fit, penalty, x, step_size=step, **accuracy)

    return solve


def _tv(lipschitz: float) -> Solver:
    """|A u - y|^2 / 2 + lam TV_eps(u)."""

    def solve(fit: LeastSquares, lam: float, x: Tensor, **accuracy: Any) -> Solution:
        penalty = SmoothedTV(lam, EPS)
        step = 1 / (lipschitz + penalty.lipschitz)
        return accelerated_gradient(fit + penalty, x, step_size=step, **accuracy)

    return solve
