"""Exercises on descent: gradients, steps and their number, projections, the heat equation."""

import math
from collections.abc import Callable, Sequence

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


@property_check(
    "projected gradient",
    "each iterate is project(u - tau * grad(u)) of the one before it.",
    "step first, then project, and keep what the projection returned: it is the next u. The start "
    "is the first row, so that n steps make n + 1 rows.",
)
def check_projected_gradient(
    descent: Callable[[ImageMap, ImageMap, Tensor, float, int], Tensor],
) -> tuple[bool, str]:
    """The iterates obey the recursion, stay in a box and approach a minimiser on it."""
    g, n, size = generator_from(0), 400, 6
    M = normal(g, size + 2, size)
    hessian, slope = M.mT @ M, 3 * normal(g, size)
    tau = 1.5 / torch.linalg.eigvalsh(hessian)[-1].item()

    def grad(u: Tensor) -> Tensor:
        return hessian @ u - slope

    def project(u: Tensor) -> Tensor:
        return u.clamp(0, 1)

    u = descent(grad, project, torch.full((size,), 0.5, dtype=torch.float64), tau, n)
    expect_shape(u, (n + 1, size), "the answer")
    followed = torch.stack([project(row - tau * grad(row)) for row in u])
    gap = (followed[:-1] - u[1:]).abs().max().item()
    if gap > 1e-12:
        return False, f"an iterate is {gap:.0e} from the projected step of the one before it"
    distances = (u - u[-1]).norm(dim=1)
    rise = (distances[1:] - distances[:-1]).max().item()
    still = (followed[-1] - u[-1]).norm().item()
    return rise <= 1e-12 and still <= 1e-9, (
        f"the distance to the minimiser never rises, and one more step would move it by {still:.0e}"
    )


@property_check(
    "number of steps",
    "|u_n - u*| <= (1 - tau alpha)^(n / 2) |u_0 - u*|: solve for n, and round up.",
    "alpha = 1, and 1 / tau = L = 1 + 8 lam / eps. The bound is one on squares: n is at least "
    "2 log(1 / r) / -log(1 - 1 / L).",
)
def check_number_of_steps(
    steps: Callable[[float, float, float], int], factors: Sequence[float] = (0.5, 0.1, 1e-3)
) -> tuple[bool, str]:
    """steps(lam, eps, r) is the least n for which the bound of smoothed TV denoising is r."""
    for lam, eps in ((0.1, 0.1), (0.1, 0.002), (1.0, 0.05), (0.02, 1.0)):
        rate = 1 - 1 / (1 + 8 * lam / eps)
        for r in factors:
            n = steps(lam, eps, r)
            if rate ** (n / 2) > r * (1 + 1e-9):
                return False, (
                    f"lam = {lam}, eps = {eps}: after {n} steps the bound is "
                    f"{rate ** (n / 2):.3g}, not {r}"
                )
            if n > 0 and rate ** ((n - 1) / 2) <= r:
                return False, f"lam = {lam}, eps = {eps}: {n - 1} steps are enough for {r}"
    return True, "the bound is met with the least number of steps, for all settings tried"
