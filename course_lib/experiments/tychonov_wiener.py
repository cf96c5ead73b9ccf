"""Numbers of chapter 3: Tychonov and Wiener on every test photograph."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fft import rfft2

from course_lib.experiments import photographs
from course_lib.metrics import psnr, ssim
from course_lib.operators import Blur, Denoising, GaussianNoise, LinearOperator, gaussian_kernel
from course_lib.results import Result, experiment
from course_lib.rng import generator_from
from course_lib.solvers import (
    discrepancy_principle,
    generalised_cross_validation,
    tychonov,
    wiener,
)

CHAPTER = "03_tychonov_wiener"
SIGMAS = {"005": 0.005, "02": 0.02, "05": 0.05, "10": 0.1}
LAMS = torch.logspace(-5, 2, 71)


@experiment(CHAPTER, cheap=True)
def deblurring(budget: str) -> list[Result]:
    """Gaussian blur of 1.5 pixels at four noise levels: how lam is chosen, PSNR and SSIM."""
    return _table(budget, "deblur", lambda size, noise: Blur(gaussian_kernel(1.5), size, noise))


@experiment(CHAPTER, cheap=True)
def denoising(budget: str) -> list[Result]:
    """The same without blur."""
    return _table(budget, "denoise", Denoising)


def _table(budget: str, task: str, make_operator) -> list[Result]:
    (images, _), data = photographs(budget)
    results = []
    for key, sigma in SIGMAS.items():
        seed = 5
        op = make_operator(tuple(images.shape[1:]), GaussianNoise(sigma))
        y = op(images, generator=generator_from(seed))
        for method, estimate in estimates(op, y, images, sigma).items():
            for metric, score in {"psnr": psnr, "ssim": ssim}.items():
                results.append(
                    Result(
                        name=f"{task}_{metric}_{method}_{key}",
                        value=score(estimate, images).mean().item(),
                        unit="dB" if metric == "psnr" else "",
                        tolerance=0.01 if metric == "psnr" else 0.001,
                        data=f"{data}, sigma {sigma}",
                        n=len(images),
                        seed=seed,
                    )
                )
    return results


def estimates(
    op: LinearOperator, y: Tensor, images: Tensor, sigma: float
) -> dict[str, Float[Tensor, "b c h w"]]:
    """The observation and every restoration of the table."""
    found = {
        "observed": y,
        "discrepancy": tychonov(op, y, discrepancy_principle(op, y, sigma)).x,
        "gcv": tychonov(op, y, generalised_cross_validation(op, y, LAMS)[0]).x,
        "oracle": tychonov(op, y, oracle_weight(op, y, images)).x,
    }
    if len(images) > 1:
        mean = y.mean((1, 2, 3), keepdim=True)
        spectrum = spectrum_of_others(images)
        found["wiener"] = mean + wiener(op, y - mean, sigma, spectrum).x
    return found


def oracle_weight(op: LinearOperator, y: Tensor, images: Tensor) -> Float[Tensor, "b"]:
    """The candidate weight of least true error, image by image: it needs the answer."""
    scores = torch.stack([psnr(tychonov(op, y, lam).x, images) for lam in LAMS])
    return LAMS[scores.argmax(0)]


def spectrum_of_others(images: Tensor) -> Float[Tensor, "b 1 h w2"]:
    """Leave one out: mean power spectrum of all other photographs, each without its mean."""
    centred = images - images.mean((2, 3), keepdim=True)
    power = rfft2(centred).abs().square().mean(1, keepdim=True)
    others = (power.sum(0, keepdim=True) - power) / (len(images) - 1)
    return others.clamp(min=1e-6 * others.mean())
