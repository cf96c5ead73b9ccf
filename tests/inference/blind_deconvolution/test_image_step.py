"""The image of a known kernel, against Wiener filters and accelerated gradients."""

import pytest
import torch
from blind_world import LEVEL, SIGMA, SIZE, TV, WORLD, exact_image, kernels

from course_lib.functionals import LeastSquares, SmoothedTV
from course_lib.inference.blind_deconvolution import (
    DenoiserPotential,
    ImageObjective,
    ImageStep,
    deconvolve,
)
from course_lib.operators import Blur, BlurEach
from course_lib.solvers import accelerated_gradient


@pytest.mark.parametrize("method", ["gradient", "proximal"])
@pytest.mark.parametrize("momentum", [True, False])
def test_the_image_of_a_gaussian_law_is_wieners(blurred, method, momentum):
    kernel = kernels(1)
    found = deconvolve(
        DenoiserPotential(WORLD, LEVEL),
        blurred,
        kernel,
        sigma=SIGMA,
        image_step=ImageStep(method, momentum),
        max_iter=3000,
        rtol=1e-13,
    )
    # The last steps are 1e-13 of the image; what is still missing is at most 100 times that.
    torch.testing.assert_close(found.x, exact_image(kernel, blurred), rtol=0, atol=1e-10)
    if not momentum:
        assert (found.history["objective"].diff(dim=0) <= 1e-13).all()  # no step goes up


@pytest.mark.parametrize("method", ["gradient", "proximal"])
def test_the_image_of_total_variation_is_that_of_accelerated_gradients(blurred, method):
    kernel = kernels(1)
    step = ImageStep(method)
    found = deconvolve(TV, blurred, kernel, sigma=SIGMA, image_step=step, max_iter=4000, rtol=1e-12)
    f = LeastSquares(Blur(kernel, SIZE), blurred) + SmoothedTV(SIGMA**2 * TV.lam, TV.eps)
    reference = accelerated_gradient(f, blurred, max_iter=2000, rtol=1e-10)
    torch.testing.assert_close(found.x, reference.x, rtol=0, atol=1e-7)
    torch.testing.assert_close(found.history["objective"][-1], f(reference.x))


def test_a_proximal_step_with_a_denoiser_starts_from_what_it_sees(blurred):
    op = BlurEach(kernels(), SIZE)
    f = ImageObjective(op, blurred, DenoiserPotential(WORLD, LEVEL), SIGMA)
    weight = (LEVEL / SIGMA) ** 2
    expected = op.prox_l2(WORLD(blurred, LEVEL), blurred, weight)
    torch.testing.assert_close(ImageStep("proximal")(f, blurred), expected)
