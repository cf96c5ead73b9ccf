"""Wiener's filter, against the posterior mean of a Gaussian and against Tychonov's estimate."""

import pytest
import torch
from helpers import dense_matrix, diagonal_operators

from course_lib.finite_differences import laplacian_symbol
from course_lib.operators import Blur, Denoising, gaussian_kernel
from course_lib.solvers import tychonov, wiener


@pytest.mark.parametrize("which", [0, 1], ids=["denoising", "blur"])
@pytest.mark.parametrize("size", [(1, 4, 6), (1, 5, 4), (2, 3, 5)])
def test_wiener_filter_is_the_posterior_mean_of_a_gaussian(size, which, generator):
    """For x ~ N(0, C) stationary and white noise: C A^T (A C A^T + sigma^2 I)^-1 y."""
    op = diagonal_operators(size, generator)[which]
    sigma, (_, height, width) = 0.3, size
    y = torch.randn(2, *size, generator=generator, dtype=torch.float64)
    S = height * width / (0.1 + laplacian_symbol((height, width)))  # E|F x|^2
    C = dense_matrix(
        lambda u: torch.fft.irfft2(S / (height * width) * torch.fft.rfft2(u), s=u.shape[-2:]), size
    )
    A, identity = dense_matrix(op.A, size), torch.eye(y[0].numel(), dtype=torch.float64)
    gain = C @ A.T @ torch.linalg.inv(A @ C @ A.T + sigma**2 * identity)
    expected = (y.flatten(1) @ gain.T).view_as(y)
    found = wiener(op, y, sigma, S).x
    assert (found - expected).norm() <= 1e-12 * expected.norm()


def test_tychonov_is_the_wiener_filter_of_its_own_spectrum(generator):
    """S = sigma^2 H W / (2 lam L), infinite at frequency 0 (erratum E26)."""
    op = diagonal_operators((1, 6, 8), generator)[1]
    y = torch.randn(1, 1, 6, 8, generator=generator, dtype=torch.float64)
    spectrum = 0.2**2 * 48 / (2 * 0.7 * laplacian_symbol((6, 8)))
    assert spectrum[0, 0] == torch.inf
    assert torch.allclose(
        wiener(op, y, 0.2, spectrum).x, tychonov(op, y, 0.7).x, rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("op_dtype", [torch.float32, torch.float64])
def test_precision_is_that_of_the_measurement(dtype, op_dtype):
    op = Blur(gaussian_kernel(1.0, dtype=op_dtype), (1, 9, 12))
    y = torch.ones(2, 1, 9, 12, dtype=dtype)
    assert wiener(op, y, 0.1, torch.ones(9, 7, dtype=dtype)).x.dtype == dtype


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"power_spectrum": torch.zeros(6, 3)}, "power_spectrum must be positive"),
        ({"power_spectrum": torch.ones(6, 5)}, r"end in \(6, 3\)"),
        ({"sigma": -0.1}, "sigma must be a finite number >= 0, got -0.1"),
        ({"y": torch.zeros(3, 1, 5, 5)}, r"wiener: expected y of shape \(B, 1, 6, 5\)"),
    ],
)
def test_bad_input(change, message):
    good = {"y": torch.ones(3, 1, 6, 5), "sigma": 0.1, "power_spectrum": torch.ones(6, 3)}
    with pytest.raises(ValueError, match=message):
        wiener(Denoising((1, 6, 5)), **(good | change))
