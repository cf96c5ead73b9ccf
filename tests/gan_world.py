"""A small GAN in float64, and what the deep generative prior restores with it."""

import torch
from torch import nn

from course_lib.models import GAN
from course_lib.operators import (
    Blur,
    Downsampling,
    Inpainting,
    Luminance,
    bicubic_kernel,
    gaussian_kernel,
    wrap_kernel,
)
from course_lib.rng import generator_from

K = 3  # latents
HOLE = torch.ones(1, 16, 16, dtype=torch.bool)
HOLE[:, 5:11, 4:12] = False
BICUBIC = wrap_kernel(bicubic_kernel(4, torch.float64), (16, 16))
OPERATORS = {
    "inpainting": Inpainting(HOLE),
    "super-resolution": Downsampling((1, 16, 16), 4, BICUBIC),
    "blur": Blur(gaussian_kernel(std=1.0, size=5, dtype=torch.float64), (1, 16, 16)),
    "colourisation": Luminance((3, 16, 16)),
}


def tiny_gan(channels=1):
    """Four blocks: stages at 4, 8 and 16 pixels, and a head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        gan = GAN(latent_dim=K, channels=(6, 5, 4), critic_channels=(4, 5), image_channels=channels)
    for layer in gan.modules():
        if isinstance(layer, nn.BatchNorm2d):  # as if training had seen something
            layer.running_var.fill_(0.1)
    return gan.double().eval()


def gan_for(op):
    return tiny_gan(op.img_size[0])


def measurements(op, n=3):
    x = torch.rand(n, *op.img_size, generator=generator_from(5), dtype=torch.float64)
    return op(x, generator=generator_from(6))
