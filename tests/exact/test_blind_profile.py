"""What is left of F in a Gaussian world, against dense least squares."""

import pytest
import torch

from course_lib.exact import blind_profile, power_law
from course_lib.operators import Blur, gaussian_kernel, motion_kernel
from course_lib.rng import generator_from, normal_like

F64 = torch.float64


@pytest.mark.parametrize("size", [(1, 6, 7), (1, 7, 6), (1, 8, 8)])  # half spectra odd and even
@pytest.mark.parametrize("kernel", [gaussian_kernel(1.1, 5, F64), motion_kernel(3.0, 0.4, 5, F64)])
def test_the_profile_is_a_minimum_over_images(size, kernel):
    """min over x of |H x - y|^2 / (2 sigma^2) + (x - m)^T C^-1 (x - m) / 2, by dense algebra."""
    world, sigma = power_law(size), 0.05
    x = world.sample(2, generator=generator_from(3))
    op = Blur(kernel, size)
    y = op.A(x) + sigma * normal_like(x, generator_from(4))
    n = x[0].numel()
    unit = torch.eye(n, dtype=F64).view(n, *size)
    H = op.A(unit).flatten(1).T
    C = torch.fft.irfft2(torch.fft.rfft2(unit) * world.spectrum, s=size[1:]).flatten(1)
    precision = torch.linalg.inv(C)
    seen = (y - world.mean).flatten(1).T
    u = torch.linalg.solve(H.T @ H / sigma**2 + precision, H.T @ seen / sigma**2)
    expected = ((H @ u - seen).square().sum(0) / sigma**2 + (u * (precision @ u)).sum(0)) / 2
    torch.testing.assert_close(blind_profile(world, kernel, y, sigma), expected, rtol=1e-9, atol=0)


def test_the_value_in_the_chapter_s_figure():
    """With the weights of the half spectrum: 2064.5 at the true width of 1.5; without, 1068."""
    world, sigma, size = power_law((1, 64, 64)), 0.01, (1, 64, 64)
    op = Blur(gaussian_kernel(1.5, 21), size)
    scene = world.sample(1, generator=generator_from(0)).float()
    y = op.A(scene) + sigma * normal_like(scene, generator_from(1))
    found = blind_profile(world, op.kernel, y, sigma)
    assert found.item() == pytest.approx(2064.5, abs=0.5)  # the decimals that the figure had
