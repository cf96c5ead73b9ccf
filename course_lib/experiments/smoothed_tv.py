"""Numbers of chapter 4: smoothed total variation against Tychonov on every test photograph."""

import torch
from torch import Tensor

from course_lib.experiments import photographs
from course_lib.experiments.tychonov_wiener import oracle_weight
from course_lib.functionals import LeastSquares, SmoothedTV
from course_lib.kernels.smoothed_tv import smoothed_tv_denoise
from course_lib.metrics import psnr
from course_lib.operators import Blur, Denoising, GaussianNoise, gaussian_kernel
from course_lib.results import Result, experiment
from course_lib.rng import generator_from
from course_lib.solvers import accelerated_gradient, tychonov

CHAPTER = "04_smoothed_tv"
SIGMA = 0.1
EPSILONS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


@experiment(CHAPTER, cheap=True)
def denoising(budget: str) -> list[Result]:
    """Noisy < Tychonov < smoothed TV, photograph by photograph, weights by the oracle."""
    (images, names), data = photographs(budget)
    seed = 7
    op = Denoising(tuple(images.shape[1:]), GaussianNoise(SIGMA))
    y = op(images, generator=generator_from(seed))
    estimate, chosen_eps = best_denoising(y, images, SIGMA)
    scores = {
        "noisy": psnr(y, images),
        "tychonov": psnr(tychonov(op, y, oracle_weight(op, y, images)).x, images),
        "tv": psnr(estimate, images),
    }
    data = f"{data}, sigma {SIGMA}"
    results = [
        Result(f"denoise_{method}_{name}", value.item(), "dB", 0.02, data, 1, seed)
        for method, values in scores.items()
        for name, value in zip(names, values, strict=True)
    ]
    results += [
        Result(f"denoise_eps_{name}", value.item(), "", None, data, 1, seed)
        for name, value in zip(names, chosen_eps, strict=True)
    ]
    return results + [
        Result(f"denoise_{method}_mean", values.mean().item(), "dB", 0.02, data, len(y), seed)
        for method, values in scores.items()
    ]


@experiment(CHAPTER)
def deblurring(budget: str) -> list[Result]:
    """Gaussian blur of 1.5 pixels, noise 0.02: the oracle's Tychonov against the oracle's TV."""
    (images, _), data = photographs(budget)
    seed, sigma = 8, 0.02
    op = Blur(gaussian_kernel(1.5), tuple(images.shape[1:]), GaussianNoise(sigma))
    y = op(images, generator=generator_from(seed))
    fit = LeastSquares(op, y)
    tv = torch.stack(
        [
            psnr(accelerated_gradient(fit + SmoothedTV(lam, 0.01), y, max_iter=150).x, images)
            for lam in (0.0005, 0.001, 0.002, 0.004, 0.008)
        ]
    )
    scores = {
        "observed": psnr(y, images),
        "tychonov": psnr(tychonov(op, y, oracle_weight(op, y, images)).x, images),
        "tv": tv.max(0).values,
    }
    data = f"{data}, blur 1.5 pixels, sigma {sigma}"
    return [
        Result(f"deblur_{method}_mean", values.mean().item(), "dB", 0.02, data, len(y), seed)
        for method, values in scores.items()
    ]


def best_denoising(y: Tensor, images: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """The estimate with the best (lam, eps) of a grid, and that eps, image by image.

    It needs the answer: a yardstick, no method.
    """
    best, estimate = psnr(y, images), y
    chosen = torch.full_like(best, torch.inf)
    for eps in EPSILONS:
        # Far below eps the penalty is lam / (2 eps) |grad u|^2, so lam must grow with eps.
        for scale in torch.logspace(-0.7, 0.7, 15).tolist():
            u = smoothed_tv_denoise(y, scale * (sigma / 2 + eps), eps, 150)
            score = psnr(u, images)
            better = score > best
            best = torch.where(better, score, best)
            chosen = torch.where(better, eps, chosen)
            estimate = torch.where(better[:, None, None, None], u, estimate)
    return estimate, chosen
