"""The problems of chapter 11."""

import math

import torch

from course_lib.operators import (
    Blur,
    GaussianNoise,
    Inpainting,
    LinearOperator,
    bicubic_downsampling,
    gaussian_kernel,
)
from course_lib.rng import generator_from

CHAPTER = "11_variational_bayes"
IMG_SIZE = (1, 64, 64)
PHOTOGRAPHS = "BSDS500 test photographs, one crop each"


def problem(name: str, img_size: tuple[int, int, int] = IMG_SIZE) -> LinearOperator:
    """The problems of VBLE-xz (arXiv:2412.04130): "deblur", "deblur_fine", "x2" and "inpaint"."""
    if name == "x2":
        return bicubic_downsampling(img_size, 2, GaussianNoise(1 / 255))
    if name == "inpaint":
        order = torch.randperm(math.prod(img_size), generator=generator_from(11))
        mask = (order < len(order) // 2).float().view(img_size)  # half of the pixels, exactly
        return Inpainting(mask, GaussianNoise(1 / 255))
    sigma = {"deblur": 7.65, "deblur_fine": 2.55}[name] / 255
    return Blur(gaussian_kernel(1.0), img_size, GaussianNoise(sigma))
