"""Algorithm 1 of the paper on blind deconvolution with diffusion priors, as it is printed."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.inference.blind_deconvolution.alternation import Alternation
from course_lib.inference.blind_deconvolution.image_step import ImageStep
from course_lib.inference.blind_deconvolution.kernel_step import KernelStep
from course_lib.operators import gaussian_kernel

PRINTED_SIDE, PRINTED_STD = 21, 1.5  # pixels: of the kernel, and of the narrow start


def published_algorithm(n_inner: int = 1) -> Alternation:
    """Plain gradient descent by turns on x and on theta, with h = P(theta).

    Printed: steps on x by the gradient, without momentum; one step on theta for `n_inner` steps on
    x, by the gradient of theta -> 1/2 |P(theta) * x - y|^2; x starts from y again every 100 outer
    iterations; sigma = 0.01; F has no ridge (`Stage(kernel_ridge=0)`). The indices are corrected
    (erratum E5).

    Not printed, and chosen: the lengths of the steps, here 1 over a Lipschitz constant of the
    gradient, the largest for which no step raises F; `n_inner`, here the best on tuning images;
    the noise level of the denoiser, in `Stage`.

    Source: Algorithm 1 of the short French paper that Nguyen, Pauwels & Weiss 2025,
    arXiv:2508.02923, continues.
    """
    return Alternation(
        ImageStep("gradient", momentum=False),
        KernelStep("through_projection", momentum=False),
        n_inner=n_inner,
        n_kernel=1,
        restart=100,
    )


def published_start(start: Literal["flat", "narrow"], side: int) -> Float[Tensor, "1 1 side side"]:
    """One of the two printed starts, scaled to kernels of another side.

    "flat": all taps 1 / side^2, which is said to succeed. "narrow": a Gaussian of 1.5 pixels for
    side 21, so of 1.5 side / 21, which is said to fail.

    Source: as of `published_algorithm`.
    """
    if start == "flat":
        return torch.full((1, 1, side, side), side**-2.0)
    return gaussian_kernel(PRINTED_STD * side / PRINTED_SIDE, side)
