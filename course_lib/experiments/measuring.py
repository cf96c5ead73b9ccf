"""Numbers of chapter 5: what the metrics say of images that are all equally wrong."""

import torch
from torch import Tensor
from torch.fft import irfft2, rfft2
from torch.nn.functional import avg_pool2d, interpolate

from course_lib.experiments import photographs
from course_lib.metrics import interval_coverage, ms_ssim, naturalness, psnr, ssim
from course_lib.operators import Blur, Denoising, gaussian_kernel
from course_lib.results import Result, experiment
from course_lib.rng import generator_from, normal_like
from course_lib.solvers import wiener

CHAPTER = "05_measuring"
EQUAL_PSNR = 22.0


@experiment(CHAPTER, cheap=True)
def equal_error(budget: str) -> list[Result]:
    """Seven distortions of each photograph, all at the same PSNR."""
    (images, _), data = photographs(budget)
    scores = {"psnr": psnr, "ssim": ssim, "naturalness": lambda u, _: naturalness(u)}
    if min(images.shape[-2:]) > 160:
        scores["ms_ssim"] = ms_ssim
    pristine = naturalness(images).mean().item()
    found = Result("naturalness_original", pristine, "", 0.01, data, len(images), None)
    return [found] + [
        Result(
            f"{metric}_{name}",
            score(distorted, images).mean().item(),
            "dB" if metric == "psnr" else "",
            0.01 if metric in ("psnr", "naturalness") else 0.001,
            f"{data}, each distortion at {EQUAL_PSNR:.0f} dB",
            len(images),
            0,
        )
        for name, distorted in equally_wrong(images).items()
        for metric, score in scores.items()
    ]


@experiment(CHAPTER, cheap=True)
def coverage_of_a_perfect_posterior(budget: str) -> list[Result]:
    """Coverage at 0.9 when the truth is drawn from the very distribution of the samples."""
    side = {"smoke": 64, "class": 128, "full": 256}[budget]
    results = []
    for count in (20, 50, 100, 400):
        draws = torch.randn(count + 1, 1, 1, side, side, generator=generator_from(count))
        for name, corrected in {"raw": False, "corrected": True}.items():
            value = interval_coverage(draws[1:], draws[0], 0.9, corrected=corrected).item()
            results.append(
                Result(
                    f"coverage_{name}_{count}",
                    value,
                    "",
                    0.005,
                    f"{side * side} independent Gaussian pixels, {count} samples",
                    1,
                    count,
                )
            )
    return results


def equally_wrong(images: Tensor, level: float = EQUAL_PSNR) -> dict[str, Tensor]:
    """Distortions x + t d of each image, t > 0 such that all have this PSNR (dB)."""
    mean = images.mean((1, 2, 3), keepdim=True)
    blur = Blur(gaussian_kernel(6.0), tuple(images.shape[1:]))
    blocks = interpolate(avg_pool2d(images, 8), scale_factor=8)
    columns = torch.arange(images.shape[-1])
    directions = {
        "brightness": torch.ones_like(images),
        "contrast": mean - images,
        "noise": normal_like(images, generator_from(0)),
        "stripes": torch.sin(columns * torch.pi / 4).expand_as(images),
        "shift": images.roll(3, -1) - images,
        "blur": blur.A(images) - images,
        "blocks": blocks - images,
    }
    target = 10 ** (-level / 20)
    return {
        name: images + target * d / d.square().mean((1, 2, 3), keepdim=True).sqrt()
        for name, d in directions.items()
    }


def gaussian_posterior(y: Tensor, sigma: float, spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spectral variance of x | y for a stationary Gaussian image under white noise.

    Args:
        y: noisy images (B, 1, H, W).
        spectrum: E |F x|^2 of the image without its mean, on the half grid of rfft2.

    Returns:
        The mean (B, 1, H, W), and E |F (x - mean)|^2 on the half grid.
    """
    level = y.mean((1, 2, 3), keepdim=True)
    op = Denoising(tuple(y.shape[1:]))
    noise = sigma**2 * y.shape[-2] * y.shape[-1]
    mean = level + wiener(op, y - level, sigma, spectrum).x
    return mean, spectrum * noise / (spectrum + noise)


def stretched(mean: Tensor, spectrum: Tensor, variance: Tensor, share: float) -> Tensor:
    """The posterior mean on its way (share 0 to 1) to an image with the right spectrum.

    The mean has the spectrum S - V; multiplying its modes by sqrt(S / (S - V)) gives them S at the
    least error. In the Gaussian world the straight way there is the best trade-off between square
    error and Wasserstein distance: Freirich, Michaeli & Meir 2021, arXiv:2107.02555.
    """
    level = mean.mean((1, 2, 3), keepdim=True)
    gain = 1 + share * ((spectrum / (spectrum - variance)).sqrt() - 1)
    return level + irfft2(gain * rfft2(mean - level), s=mean.shape[-2:])


def posterior_noise(variance: Tensor, size: tuple[int, int], n: int, seed: int) -> Tensor:
    """n draws of x - mean, (n, B, 1, H, W), for the spectral variance of `gaussian_posterior`."""
    white = torch.randn(n, *variance.shape[:-2], *size, generator=generator_from(seed))
    scale = (variance / (size[0] * size[1])).sqrt()
    return irfft2(scale * rfft2(white), s=size)
