"""Numbers of chapter 1: what inversion does to noise, and what the data cannot see."""

import torch

from course_lib.experiments.shared import means, photographs
from course_lib.fourier import spectral_mean
from course_lib.metrics import psnr
from course_lib.operators import (
    MRI,
    Blur,
    CompressedSensing,
    Downsampling,
    GaussianNoise,
    Inpainting,
    LinearOperator,
    bicubic_kernel,
    cartesian_mask,
    gaussian_kernel,
)
from course_lib.results import Result, experiment
from course_lib.rng import generator_from

CHAPTER = "01_inverse_problems"


@experiment(CHAPTER, cheap=True, on_photographs=True)
def naive_inverse(budget: str) -> list[Result]:
    """Divide by the transfer function: the error predicted by the formula, and the measured one."""
    images, data = photographs(budget)
    sigma, seed = 0.01, 1
    op = Blur(gaussian_kernel(0.6).double(), images.shape[1:], GaussianNoise(sigma))
    y = op(images.double(), generator=generator_from(seed))
    naive = op.A_dagger(y)
    found = {
        "naive_std_predicted": (
            sigma * spectral_mean(1 / op.gain, op.img_size[1:]).sqrt(),
            "",
            1e-6,
        ),
        "naive_std_measured": ((naive - images).std(), "", 1e-4),
        "psnr_blurred": (psnr(y, images), "dB", 0.01),
        "psnr_naive": (psnr(naive, images), "dB", 0.01),
    }
    return means(found, "{}", data, len(images), seed)


@experiment(CHAPTER, cheap=True, on_photographs=True)
def unseen_share(budget: str) -> list[Result]:
    """|x - A^+ A x|^2 / |x|^2 for photographs x minus their mean: the variance that A destroys."""
    images, data = photographs(budget)
    images = images - images.mean((2, 3), keepdim=True)
    seed, found = 1, {}
    for name, op in blind_spots(tuple(images.shape[1:]), seed).items():
        unseen = (images - op.A_dagger(op.A(images))).square().sum((1, 2, 3))
        found[name] = 100 * unseen / images.square().sum((1, 2, 3)), "%", 0.05
    return means(found, "unseen_{}", data, len(images), seed)


def blind_spots(img_size: tuple[int, int, int], seed: int) -> dict[str, LinearOperator]:
    """Operators that lose a part of every image, each with a closed-form pseudo-inverse."""
    generator = generator_from(seed)
    lost = torch.rand(img_size, generator=generator) < 0.5
    mask = cartesian_mask(img_size[1:], 4, generator)
    m = img_size[1] * img_size[2] // 4
    return {
        "downsampling": Downsampling(img_size, 4, bicubic_kernel(4)),
        "inpainting": Inpainting(~lost),
        "mri": MRI(mask, img_size),
        "sensing": CompressedSensing(m, img_size, generator, rows="fourier"),
    }
