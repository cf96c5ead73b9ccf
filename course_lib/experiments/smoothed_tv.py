"""Numbers of chapter 4: smoothed total variation against Tychonov on every test photograph."""

from torch import Tensor

from course_lib.experiments.shared import bundled_photographs, means, photographs
from course_lib.experiments.tychonov_wiener import LAMS
from course_lib.functionals import LeastSquares, SmoothedTV
from course_lib.inference.classical import best_by_psnr, oracle_tv_denoising
from course_lib.metrics import mean_half_width, psnr
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
    return means(one_each, "denoise_{}", data, 1, seed)


@experiment(CHAPTER, on_photographs=True)
def denoising_many(budget: str) -> list[Result]:
    """The same on photographs of a table: the means, and by how much TV is ahead of Tychonov."""
    images, data = photographs(budget, 128)
    sigma, seed = 0.1, 7
    op = Denoising(tuple(images.shape[1:]), GaussianNoise(sigma))
    y = op(images, generator=generator_from(seed))
    estimates = {
        "noisy": y,
        "tychonov": tychonov(op, y, oracle_weight(op, y, images, LAMS)).x,
        "tv": oracle_tv_denoising(y, images, sigma)[0],
    }
    return comparison("denoise", estimates, images, f"{data}, sigma {sigma}", seed)


def comparison(
    task: str, estimates: dict[str, Tensor], truth: Tensor, data: str, seed: int
) -> list[Result]:
    """Mean PSNR of every estimate; the gain of "tv" over "tychonov" with its 95 % interval."""
    decibels = {method: psnr(x, truth) for method, x in estimates.items()}
    gain = decibels["tv"] - decibels["tychonov"]
    found = {f"{method}_mean": (values, "dB", 0.02) for method, values in decibels.items()} | {
        "gain": (gain, "dB, of TV over Tychonov", 0.02),
        "gain_interval": (mean_half_width(gain), "dB, 95 %", None),
        "ahead": (gain > 0, "share of photographs where TV is ahead", 0.02),
    }
    return means(found, f"{task}_{{}}", data, len(truth), seed)


@experiment(CHAPTER, on_photographs=True)
def deblurring(budget: str) -> list[Result]:
    """Gaussian blur of 1.5 pixels, noise 0.02: the oracle's Tychonov against the oracle's TV."""
    images, data = photographs(budget, 128)
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
    data = f"{data}, blur 1.5 pixels, sigma {sigma}"
    return comparison("deblur", estimates, images, data, seed)
