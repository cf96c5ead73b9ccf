"""Exercises on forward operators: an adjoint, the noise of the inverse filter, a null space."""

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.property_check import expect_shape, normal, property_check
from course_lib.protocols import ImageMap, ImageSize
from course_lib.rng import generator_from
from course_lib.solvers import conjugate_gradient


@property_check(
    "adjoint",
    "the test is <A x, v> = <x, A^T v>. Does each number of v go back to the pixels it came from?",
    "write A as a matrix for a tiny image; A^T reads the same table by columns. A roll by +k "
    "becomes a roll by -k, a selection of pixels becomes an insertion of zeros.",
)
def check_adjoint(A: ImageMap, A_adjoint: ImageMap, img_size: ImageSize) -> tuple[bool, str]:
    """<A x, v> = <x, A_adjoint v> on random images of shape (1, *img_size)."""
    generator = generator_from(0)
    x = normal(generator, 1, *img_size)
    Ax = A(x)
    v = torch.randn(Ax.shape, generator=generator, dtype=x.dtype)
    back = A_adjoint(v)
    expect_shape(back, x.shape, "A^T v")
    gap = ((Ax * v).sum() - (x * back).sum()).abs() / (Ax.norm() * v.norm())
    return gap.item() <= 1e-12, f"|<A x, v> - <x, A^T v>| / (|A x| |v|) = {gap.item():.0e}"


@property_check(
    "noise gain",
    "the noise is white: its expected power is the same, n sigma^2, at each of the n frequencies.",
    "the inverse filter multiplies the power at a frequency by 1 / |h|^2; the variance of a pixel "
    "is sigma^2 times the mean of that factor over all frequencies of the full grid.",
)
def check_noise_gain(predict: Callable[[Tensor, float], float]) -> tuple[bool, str]:
    """predict(transfer, sigma) is the std of F^-1 (F w / transfer), against a simulation.

    `transfer` is the full (H, W) spectrum of a kernel.
    """
    generator = generator_from(0)
    kernel = torch.zeros(48, 40, dtype=torch.float64)
    kernel[0, 0], kernel[0, 1], kernel[1, 0] = 0.6, 0.25, 0.1
    transfer = torch.fft.fft2(kernel)
    noise = 0.02 * normal(generator, 400, 48, 40)
    measured = torch.fft.ifft2(torch.fft.fft2(noise) / transfer).real.std().item()
    predicted = float(predict(transfer, 0.02))
    # 768000 correlated pixels: the measured std has a relative error well below 1 %.
    close = abs(predicted - measured) <= 0.01 * measured
    return close, f"predicted {predicted:.4f}, measured {measured:.4f}"


@property_check(
    "null-space projection",
    "three properties are asked for: A P = 0, P P = P, and <P x, v> = <x, P v>.",
    "what A sees of x is A^+ A x. What is left?",
)
def check_null_projection(P: ImageMap, A: ImageMap, img_size: ImageSize) -> tuple[bool, str]:
    """P is the orthogonal projection on the null space of A (single precision will do)."""
    generator = generator_from(0)
    x, v = (normal(generator, 1, *img_size).float() for _ in range(2))
    Px = P(x)
    scale = x.norm()
    unseen = (A(Px).norm() / scale).item()
    again = ((P(Px) - Px).norm() / scale).item()
    symmetric = (((Px * v).sum() - (x * P(v)).sum()).abs() / (scale * v.norm())).item()
    # About the share of dimensions that P keeps; A hides at least 1 - m / n.
    kept = ((x * Px).sum() / scale.square()).item()
    hidden = 1 - A(x).numel() / x.numel()
    found = (
        f"|A P x| = {unseen:.0e}, |P P x - P x| = {again:.0e} (times |x|), keeps {kept:.0%} of the "
        f"dimensions where A hides {hidden:.0%}"
    )
    # z = x - A^T (A A^T)^+ A x is not seen by A, so that P must leave it alone.
    Ax, back, *_ = torch.func.vjp(A, x)
    solved = conjugate_gradient(lambda v: A(back(v)[0]), Ax, rtol=1e-6).x
    z = x - back(solved)[0]
    lost = ((P(z) - z).norm() / scale).item()
    if lost > 1e-5:
        found += f", changes an image that A does not see by {lost:.0e} |x|"
    # 1e-5: a few dozen float32 roundings, 6e-8 each.
    return max(unseen, again, symmetric, lost) <= 1e-5, found
