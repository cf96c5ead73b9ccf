"""Numbers of chapter 3: Tychonov and Wiener on every test photograph."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.experiments.shared import means, photographs
from course_lib.fourier import leave_one_out_spectrum
from course_lib.metrics import mean_half_width, psnr, ssim
from course_lib.operators import Blur, Denoising, GaussianNoise, LinearOperator, gaussian_kernel
from course_lib.results import Result, experiment
from course_lib.rng import generator_from
from course_lib.solvers import (
    discrepancy_principle,
    generalised_cross_validation,
    oracle_weight,
    tychonov,
    wiener,
)

CHAPTER = "03_tychonov_wiener"
SIGMAS = {"005": 0.005, "02": 0.02, "05": 0.05, "10": 0.1}
LAMS = torch.logspace(-5, 2, 71)


@experiment(CHAPTER, cheap=True, on_photographs=True)
def deblurring(budget: str) -> list[Result]:
    """Gaussian blur of 1.5 pixels at four noise levels: how lam is chosen, PSNR and SSIM."""
    return _table(budget, "deblur", lambda size, noise: Blur(gaussian_kernel(1.5), size, noise))


@experiment(CHAPTER, cheap=True, on_photographs=True)
def denoising(budget: str) -> list[Result]:
    """The same without blur."""
    return _table(budget, "denoise", Denoising)


def _table(budget: str, task: str, make_operator: Callable[..., LinearOperator]) -> list[Result]:
    """PSNR and SSIM of every method at every noise level."""
    images, data = photographs(budget)
    seed, results = 5, []
    for key, sigma in SIGMAS.items():
        op = make_operator(tuple(images.shape[1:]), GaussianNoise(sigma))
        y = op(images, generator=generator_from(seed))
        restored = estimates(op, y, images, sigma)
        best = psnr(restored["oracle"], images)
        for method, estimate in restored.items():
            decibels = psnr(estimate, images)
            found = {
                "psnr": (decibels, "dB", 0.01),
                "ssim": (ssim(estimate, images), "", 0.001),
                "gap": (best - decibels, "dB, below the oracle", 0.01),
                "interval": (mean_half_width(best - decibels), "dB, 95 %", None),
            }
            name, words = f"{task}_{{}}_{method}_{key}", f"{data}, sigma {sigma}"
            results += means(found, name, words, len(images), seed)
    return results


def estimates(
    op: LinearOperator, y: Tensor, images: Tensor, sigma: float
) -> dict[str, Float[Tensor, "b c h w"]]:
    """The observation and every restoration of the table."""
    found = {
        "observed": y,
        "discrepancy": tychonov(op, y, discrepancy_principle(op, y, sigma)).x,
        "gcv": tychonov(op, y, generalised_cross_validation(op, y, LAMS)[0]).x,
        "oracle": tychonov(op, y, oracle_weight(op, y, images, LAMS)).x,
    }
    if len(images) > 1:
        mean = y.mean((1, 2, 3), keepdim=True)
        spectrum = leave_one_out_spectrum(images)
        found["wiener"] = mean + wiener(op, y - mean, sigma, spectrum).x
    return found
