"""Exercises on blind deconvolution: the trivial pair, two gradients."""

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.property_check import expect_shape, normal, property_check, uniform
from course_lib.functionals import SmoothedTV
from course_lib.kernels.simplex import project_simplex
from course_lib.operators import Blur
from course_lib.protocols import ImageMap
from course_lib.rng import generator_from


@property_check(
    "trivial pair",
    "which kernel changes nothing? Then which image explains y as well as x does under h?",
    "(h * x, identity): blurred by the identity it is h * x, and blur lowers the potential.",
)
def check_trivial_pair(
    trivial: Callable[[Tensor, Tensor, ImageMap], tuple[Tensor, Tensor]],
) -> tuple[bool, str]:
    """trivial(x, h, blur), with blur(x) = h * x: a pair (x', h') that F never likes less."""
    generator = generator_from(0)
    x = uniform(generator, 1, 1, 8, 8)
    h = uniform(generator, 1, 1, 3, 3)
    h = h / h.sum()
    image, kernel = trivial(x, h, Blur(h, (1, 8, 8)).A)
    expect_shape(image, x.shape, "the image")
    expect_shape(kernel, h.shape, "the kernel")
    if kernel.min() < 0 or abs(kernel.sum().item() - 1) > 1e-9:
        return False, "the kernel is not in the simplex"
    change = Blur(kernel, (1, 8, 8)).A(image) - Blur(h, (1, 8, 8)).A(x)
    tv = SmoothedTV(1.0, 0.01)
    if change.abs().max() > 1e-9:
        return False, f"h' * x' differs from h * x by {change.abs().max().item():.0e}"
    drop = (tv(x) - tv(image)).item()
    return drop > 0.1, f"the same data fidelity, and total variation falls by {drop:.2f}"


@property_check(
    "kernel gradient",
    "the data fidelity is linear least squares in h: which matrix takes h to h * x?",
    "its columns are the translates x(. - t); so each tap has sum over p of x(p - t) r(p).",
)
def check_kernel_gradient(
    gradient: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> tuple[bool, str]:
    """gradient(h, x, y) of |h * x - y|^2 / 2, for signals (n,) and taps h(-1), h(0), h(1)."""
    generator = generator_from(0)
    x, y = uniform(generator, 2, 9)
    h = uniform(generator, 3).requires_grad_()
    blurred = sum(h[t] * x.roll(t - 1) for t in range(3))
    (expected,) = torch.autograd.grad((blurred - y).square().sum() / 2, h)
    found = gradient(h.detach(), x, y)
    expect_shape(found, h.shape)
    gap = (found - expected).abs().max().item()
    return gap <= 1e-10, f"{gap:.0e} from automatic differentiation"


@property_check(
    "slope through the projection",
    "P(v) = (v - tau)_+ : which entries of v does it depend on?",
    "on the support, v loses its mean: P' = I - 1 1^T / |S| there, and 0 elsewhere.",
)
def check_slope_through_projection(
    slope: Callable[[Tensor, Tensor], Tensor],
) -> tuple[bool, str]:
    """slope(g, p) is P'(v)^T g, from g (n,) and the projection p = P(v)."""
    generator, worst = generator_from(0), 0.0
    for scale in (0.1, 0.5, 2.0):
        v = scale * normal(generator, 8)
        g = normal(generator, 8)
        v.requires_grad_()
        p = project_simplex(v)
        (expected,) = torch.autograd.grad(p @ g, v)
        found = slope(g, p.detach())
        expect_shape(found, g.shape)
        worst = max(worst, (found - expected).abs().max().item())
    return worst <= 1e-10, f"{worst:.0e} from automatic differentiation, on three supports"
