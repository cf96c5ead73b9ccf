"""How fast an untrained network follows an image, and how slowly noise."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from course_lib.batch import image_size
from course_lib.inference.untrained.deep_image_prior import deep_image_prior
from course_lib.inference.untrained.network_descent import NetworkDescent
from course_lib.operators import Denoising
from course_lib.rng import check_generator, normal_like

TARGETS = ("image", "image + noise", "shuffled pixels", "white noise")


class Impedance(NamedTuple):
    """Errors of a network's fit to four targets."""

    targets: Float[Tensor, "4 b c h w"]  # as `TARGETS` names them
    loss: Float[Tensor, "rows 4 b"]  # mean square error, before each step and after the last


def impedance(
    images: Float[Tensor, "b c h w"],
    *,
    network: nn.Module | None = None,
    n_steps: int = 1000,
    step_size: float = 0.01,
    sigma: float = 25 / 255,
    generator: Generator,
) -> Impedance:
    """Fit an image, the image with noise, its shuffled pixels and white noise, all at once.

    Four networks for each image start from the same weights and noise; only the targets differ.

    Args:
        images: in [0, 1].
        network: as in `deep_image_prior`.
        n_steps, step_size: number and size of the steps of Adam.
        sigma: standard deviation of the noise that is added.
        generator: source of the targets and of the networks.

    Source: Ulyanov, Vedaldi & Lempitsky 2018, arXiv:1711.10925, figure 2.
    """
    check_generator("impedance", generator)
    order = torch.randperm(images[0, 0].numel(), generator=generator).to(images.device)
    targets = torch.stack(
        [
            images,
            images + sigma * normal_like(images, generator),
            images.flatten(2)[..., order].view(images.shape),
            torch.rand(images.shape, generator=generator).to(images),
        ]
    )
    found = deep_image_prior(
        Denoising(image_size(images)),
        targets.flatten(0, 1),
        network=network,
        descent=NetworkDescent(n_steps, step_size, noise_std=0.0, averaging=0.0),
        stop=None,
        generator=generator,
    )
    return Impedance(targets, found.history["loss"].unflatten(1, targets.shape[:2]))
