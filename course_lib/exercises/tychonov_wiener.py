"""Exercises on Tychonov and Wiener: the closed form, the discrepancy, the least error."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.fft import fftfreq, irfft2, rfft2, rfftfreq

from course_lib.exercises.property_check import expect_shape, normal, property_check
from course_lib.functionals import LeastSquares, Tychonov
from course_lib.operators import Blur
from course_lib.rng import generator_from


@property_check(
    "minimiser",
    "at a minimiser the gradient of the functional vanishes. Solve grad f(u) = 0 for F u.",
    "F u = conj(h) F y / (|h|^2 + 2 lam L): check the conjugate, and the factor 2 that comes from "
    "the gradient of lam |grad u|^2.",
)
def check_minimiser(
    minimise: Callable[[Blur, Tensor, float], Tensor],
) -> tuple[bool, str]:
    """minimise(op, y, lam) is where the gradient of |A u - y|^2 / 2 + lam |grad u|^2 vanishes.

    The kernel is one-sided, since a symmetric one has a real transfer function, and a side is odd.
    """
    generator = generator_from(0)
    op = Blur(one_sided_kernel(), (1, 20, 27))
    y = normal(generator, 1, 1, 20, 27)
    fidelity, penalty = LeastSquares(op, y), Tychonov(0.01)
    u = minimise(op, y, 0.01)
    expect_shape(u, y.shape)
    slope, start = (fidelity.grad(v) + penalty.grad(v) for v in (u, torch.zeros_like(y)))
    relative = (slope.norm() / start.norm()).item()
    return relative <= 1e-10, f"|grad f(u)| / |grad f(0)| = {relative:.0e}"


@property_check(
    "residual",
    "the residual |A u - y| grows with lam: too small a residual means that noise was fitted.",
    "search on log lam by bisection until |A u - y|^2 = n sigma^2, n the number of pixels.",
)
def check_residual(residual: Callable[[], Tensor], sigma: float) -> tuple[bool, str]:
    """The residual A u - y has the size of the noise, to 1 %."""
    ratio = residual().square().mean().sqrt().item() / sigma
    return abs(ratio - 1) <= 0.01, f"rms of A u - y is {ratio:.3f} sigma"


@property_check(
    "Wiener limits",
    "no noise: invert; endless noise: give up. In between compare the power of the image with that "
    "of the noise at one frequency: what is E |F w|^2 for n pixels of white noise?",
    "the filter is conj(h) / (|h|^2 + sigma^2 n / S), n = H W, and irfft2 needs the size s=.",
)
def check_wiener_limits(
    restore: Callable[[Tensor, Tensor, float, Tensor], Tensor],
) -> tuple[bool, str]:
    """restore(y, transfer, sigma, S) inverts as sigma -> 0, vanishes as sigma -> infinity, and has
    the least error of all filters for an image of power spectrum S."""
    generator = generator_from(0)
    size = (32, 27)
    S = 1 / (1e-3 + fftfreq(32).square()[:, None] + rfftfreq(27).square()).double()
    op = Blur(one_sided_kernel(), (1, *size))
    eps = normal(generator, 20, 1, *size)
    x = irfft2((S / eps[0].numel()).sqrt() * rfft2(eps), s=size)
    y = op.A(x)
    sigma = y.std().item()
    inverts = ((restore(y, op.transfer, 1e-9, S) - x).norm() / x.norm()).item()
    vanishes = (restore(y, op.transfer, 1e9, S).norm() / x.norm()).item()
    # Where E |g F y - F x|^2 is least, E (g F y - F x) conj(F y) vanishes.
    g = rfft2(restore(y, op.transfer, sigma, S)) / rfft2(y)
    power = op.transfer.abs().square() * S + sigma**2 * eps[0].numel()
    slope = g * power - op.transfer.conj() * S
    slope = (slope.norm() / (g * power).norm()).item()
    found = f"error {inverts:.0e} without noise, size {vanishes:.0e} with endless noise"
    found += f", the error correlates with y by {slope:.0e}"
    return inverts < 1e-6 and vanishes < 1e-6 and slope < 1e-6, found


def one_sided_kernel() -> Tensor:
    """A kernel without symmetry, whose transfer function is complex."""
    kernel = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    kernel[..., 1, 1], kernel[..., 1, 2], kernel[..., 2, 1] = 0.7, 0.2, 0.1
    return kernel
