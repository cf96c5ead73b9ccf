"""Numbers of chapter 5: what the metrics say of images that are all equally wrong."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from course_lib.experiments.shared import means, perceptual, photographs
from course_lib.metrics import at_psnr, interval_coverage, ms_ssim, naturalness, psnr, ssim
from course_lib.operators import Blur, gaussian_kernel
from course_lib.results import Result, experiment
from course_lib.rng import generator_from, normal_like

CHAPTER = "05_measuring"
EQUAL_PSNR = 22.0


@experiment(CHAPTER, cheap=True, on_photographs=True)
def equal_error(budget: str) -> list[Result]:
    """Seven distortions of each photograph, all at the same PSNR."""
    images, data = photographs(budget)
    n = len(images)
    results = means({"original": (naturalness(images), "", 0.01)}, "naturalness_{}", data, n, None)
    for name, distorted in equally_wrong(images).items():
        found = {
            "psnr": (psnr(distorted, images), "dB", 0.01),
            "ssim": (ssim(distorted, images), "", 0.001),
            "naturalness": (naturalness(distorted), "", 0.01),
        }
        if min(images.shape[-2:]) > 160:
            found["ms_ssim"] = ms_ssim(distorted, images), "", 0.001
        if budget == "full":  # what a test recomputes needs no weights that have to be fetched
            found |= perceptual(distorted, images, budget)
        words = f"{data}, each distortion at {EQUAL_PSNR:.0f} dB"
        results += means(found, f"{{}}_{name}", words, n, 0)
    return results


@experiment(CHAPTER, cheap=True)
def coverage_of_a_perfect_posterior(budget: str) -> list[Result]:
    """Coverage at 0.9 when the truth is drawn from the very distribution of the samples."""
    side = {"smoke": 64, "class": 128, "full": 256}[budget]
    results = []
    for count in (20, 50, 100, 400):
        draws = torch.randn(count + 1, 1, 1, side, side, generator=generator_from(count))
        found = {
            name: (interval_coverage(draws[1:], draws[0], 0.9, corrected=corrected), "", 0.005)
            for name, corrected in {"raw": False, "corrected": True}.items()
        }
        data = f"{side * side} independent Gaussian pixels, {count} samples"
        results += means(found, f"coverage_{{}}_{count}", data, 1, count)
    return results


def equally_wrong(images: Tensor) -> dict[str, Tensor]:
    """Seven distortions of each image, all at EQUAL_PSNR."""
    blur = Blur(gaussian_kernel(6.0), tuple(images.shape[1:]))
    columns = torch.arange(images.shape[-1])
    directions = {
        "brightness": torch.ones_like(images),
        "contrast": images.mean((1, 2, 3), keepdim=True) - images,
        "noise": normal_like(images, generator_from(0)),
        "stripes": torch.sin(columns * torch.pi / 4).expand_as(images),
        "shift": images.roll(3, -1) - images,
        "blur": blur.A(images) - images,
        "blocks": interpolate(avg_pool2d(images, 8), scale_factor=8) - images,
    }
    return {name: at_psnr(images, d, EQUAL_PSNR) for name, d in directions.items()}
