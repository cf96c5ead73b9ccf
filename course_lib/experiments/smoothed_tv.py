"""Numbers of chapter 4: smoothed total variation against Tychonov on every test photograph."""

from course_lib.experiments.shared import bundled_photographs, means, photographs
from course_lib.experiments.tychonov_wiener import LAMS
from course_lib.functionals import LeastSquares, SmoothedTV
from course_lib.inference.classical import best_by_psnr, oracle_tv_denoising
from course_lib.metrics import psnr
from course_lib.operators import Blur, Denoising, GaussianNoise, gaussian_kernel
from course_lib.results import Result, experiment
from course_lib.rng import generator_from
from course_lib.solvers import accelerated_gradient, oracle_weight, tychonov

CHAPTER = "04_smoothed_tv"


@experiment(CHAPTER, cheap=True)
def denoising(budget: str) -> list[Result]:
    """Noisy < Tychonov < smoothed TV, photograph by photograph, weights by the oracle."""
    (images, names), data = bundled_photographs(budget)
    sigma, seed = 0.1, 7
    op = Denoising(tuple(images.shape[1:]), GaussianNoise(sigma))
    y = op(images, generator=generator_from(seed))
    estimate, chosen_eps = oracle_tv_denoising(y, images, sigma)
    scores = {
        "noisy": psnr(y, images),
        "tychonov": psnr(tychonov(op, y, oracle_weight(op, y, images, LAMS)).x, images),
        "tv": psnr(estimate, images),
    }
    data = f"{data}, sigma {sigma}"
    one_each = {
        f"{method}_{name}": (value, "dB", 0.02)
        for method, values in scores.items()
        for name, value in zip(names, values, strict=True)
    }
    one_each |= {
        f"eps_{name}": (value, "", None) for name, value in zip(names, chosen_eps, strict=True)
    }
    over_all = {f"{method}_mean": (values, "dB", 0.02) for method, values in scores.items()}
    return [
        *means(one_each, "denoise_{}", data, 1, seed),
        *means(over_all, "denoise_{}", data, len(y), seed),
    ]


@experiment(CHAPTER, on_photographs=True)
def deblurring(budget: str) -> list[Result]:
    """Gaussian blur of 1.5 pixels, noise 0.02: the oracle's Tychonov against the oracle's TV."""
    images, data = photographs(budget)
    sigma, seed = 0.02, 8
    op = Blur(gaussian_kernel(1.5), tuple(images.shape[1:]), GaussianNoise(sigma))
    y = op(images, generator=generator_from(seed))
    fit = LeastSquares(op, y)
    candidates = (
        accelerated_gradient(fit + SmoothedTV(lam, 0.01), y, max_iter=150).x
        for lam in (0.0005, 0.001, 0.002, 0.004, 0.008)
    )
    estimates = {
        "observed": y,
        "tychonov": tychonov(op, y, oracle_weight(op, y, images, LAMS)).x,
        "tv": best_by_psnr(candidates, images)[0],
    }
    found = {method: (psnr(x, images), "dB", 0.02) for method, x in estimates.items()}
    data = f"{data}, blur 1.5 pixels, sigma {sigma}"
    return means(found, "deblur_{}_mean", data, len(y), seed)
