"""Exercises on descent: a gradient, the longest step, the heat equation."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.property_check import expect_shape, normal, property_check
from course_lib.protocols import ImageMap, ImageSize
from course_lib.rng import generator_from


@property_check(
    "gradient",
    "compare the terms one by one: f(u + h) = f(u) + <grad f(u), h> + O(|h|^2).",
    "for f(u) = 1/2 |M u - b|^2 the gradient is M^T (M u - b): do not forget the adjoint, and "
    "mind the factor 2 where f has no 1/2. For a sum over pixels of phi(|grad u(x)|) the length is "
    "taken at each pixel: sum(0) over the two differences, not sum().",
)
def check_gradient(
    f: Callable[[Tensor], Tensor], grad: ImageMap, img_size: ImageSize
) -> tuple[bool, str]:
    """grad agrees with automatic differentiation of f at random images."""
    u = normal(generator_from(0), 1, *img_size).requires_grad_()
    (expected,) = torch.autograd.grad(f(u).sum(), u)
    with torch.no_grad():
        found = grad(u)
    expect_shape(found, u.shape, "the gradient")
    gap = ((found - expected).norm() / expected.norm()).item()
    return gap <= 1e-10, f"relative distance to the derivative of f is {gap:.0e}"


@property_check(
    "step bound",
    "the largest eigenvalue of the Hessian decides: a step below 2 / L contracts every mode.",
    "here the Hessian is A^T A + 2 lam (-Laplacian); with a kernel of sum 1 and even sides the two "
    "maxima sit at different frequencies, so take the maximum of the sum, not the sum of maxima.",
)
def check_step_bound(
    find_bound: Callable[[], float], hvp: ImageMap, img_size: ImageSize
) -> tuple[bool, str]:
    """u <- u - tau hvp(u) contracts at 0.999 of the bound and grows at 1.001 of it."""
    bound = float(find_bound())
    pixels = torch.eye(math.prod(img_size), dtype=torch.float64).view(-1, 1, *img_size)
    hessian = torch.stack([hvp(pixel).flatten() for pixel in pixels])
    modes = torch.linalg.eigvals(hessian)
    growth = {f: (1 - f * bound * modes).abs().max().item() for f in (0.999, 1.001)}
    found = " and ".join(f"{g:.4f} per step at {f} of your bound" for f, g in growth.items())
    passed = growth[0.999] <= 1 + 1e-9 and growth[1.001] > 1
    return passed, f"the worst mode is multiplied by {found}"


@property_check(
    "heat",
    "one step multiplies the mode of symbol L by 1 - 2 tau L. What do n steps do?",
    "F u_n = (1 - 2 tau L)^n F u_0, with L = laplacian_symbol(size) on the half spectrum of rfft2.",
)
def check_heat(heat: Callable[[Tensor, float, int], Tensor]) -> tuple[bool, str]:
    """heat(u, tau, n) equals n explicit steps u <- u + 2 tau Laplacian u, and keeps the mean."""
    u = normal(generator_from(0), 1, 1, 12, 15)
    v, tau, n = u, 0.11, 25
    for _ in range(n):
        neighbours = v.roll(1, -2) + v.roll(-1, -2) + v.roll(1, -1) + v.roll(-1, -1)
        v = v + 2 * tau * (neighbours - 4 * v)
    gap = ((heat(u, tau, n) - v).norm() / v.norm()).item()
    return gap <= 1e-12, f"distance to {n} explicit steps is {gap:.0e}"
