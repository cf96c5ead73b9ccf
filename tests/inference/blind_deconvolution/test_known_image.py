"""The kernel of a known image: found exactly without noise, pulled to the flat one by a ridge."""

import torch

from course_lib.inference.blind_deconvolution import kernel_of_known_image
from course_lib.operators import BlurEach, gaussian_kernel


def test_kernels_are_found_where_nothing_disturbs(generator):
    x = torch.rand(2, 2, 12, 10, generator=generator, dtype=torch.float64)
    kernels = torch.cat([gaussian_kernel(s, 5, dtype=torch.float64) for s in (0.8, 1.5)])
    y = BlurEach(kernels, (2, 12, 10)).A(x)
    found = kernel_of_known_image(x, y, 5)
    torch.testing.assert_close(found, kernels, rtol=0, atol=1e-4)


def test_a_strong_ridge_makes_kernels_flat(generator):
    x = torch.rand(1, 1, 12, 10, generator=generator, dtype=torch.float64)
    found = kernel_of_known_image(x, x, 3, ridge=1e6, n_steps=100)
    torch.testing.assert_close(found, torch.full_like(found, 1 / 9), rtol=0, atol=1e-3)
