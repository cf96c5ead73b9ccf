"""The profile over kernels, against its closed form in the Gaussian world."""

import pytest
import torch
from blind_world import F64, LEVEL, SIGMA, SIZE, TV, WORLD, exact_profile, heat

from course_lib.inference.blind_deconvolution import (
    DenoiserPotential,
    data_fidelity,
    deconvolve,
    profile,
)
from course_lib.operators import Blur, gaussian_kernel


@pytest.mark.slow
def test_a_profile_from_gradients_brackets_the_exact_one(blurred):
    thetas = [0.3 + 0.05 * k for k in range(25)]
    found = profile(
        DenoiserPotential(WORLD, LEVEL),
        blurred,
        lambda t: gaussian_kernel(t, 9, F64),
        thetas,
        sigma=SIGMA,
        max_iter=100,
        rtol=1e-9,
    )
    exact = torch.stack([exact_profile(gaussian_kernel(t, 9, F64), blurred) for t in thetas])
    exact = exact - exact[0]
    assert (found.lower <= exact + 1e-10).all()
    assert (found.upper >= exact - 1e-10).all()
    # Steps of 0.05 pixels: of the second order in them, near the end where the kernel is narrow.
    torch.testing.assert_close(found.change, exact, rtol=0.02, atol=1e-6)


def test_convex_invariant_priors_have_no_favourable_minimum(blurred):
    """h_theta' = h_theta * g: the profile rises all along, past the true width as elsewhere."""
    thetas = [0.4 * k for k in range(6)]
    options = {"sigma": SIGMA, "max_iter": 300, "rtol": 1e-8}
    found = profile(TV, blurred, heat, thetas, **options)
    values = [
        data_fidelity(Blur(heat(theta), SIZE), x, blurred) + SIGMA**2 * TV(x)
        for theta, x in zip(thetas, found.x, strict=True)
    ]
    assert (torch.stack(values).diff(dim=0) > 0).all()


def test_the_branch_is_followed_from_one_kernel_to_the_next(three):
    """Of a potential that is not convex each minimum is sought from the one before it."""
    world, _, _, y = three
    q, thetas = DenoiserPotential(world, 0.2), (1.5, 1.2, 0.9)
    options = {"sigma": 0.01, "max_iter": 5, "rtol": 0.0}
    found = profile(q, y, lambda t: gaussian_kernel(t, 5, F64), thetas, **options)
    x = y
    for theta, reached in zip(thetas, found.x, strict=True):
        x = deconvolve(q, y, gaussian_kernel(theta, 5, F64), x0=x, **options).x
        assert torch.equal(x, reached)
