"""Exercises on gradient descent: right answers pass, plausible wrong ones are refused."""

import math

import torch
from helpers import judged
from torch.fft import irfft2, rfft2

from course_lib.exercises import (
    check_gradient,
    check_heat,
    check_number_of_steps,
    check_projected_gradient,
    check_step_bound,
)
from course_lib.finite_differences import laplacian, laplacian_symbol
from course_lib.functionals import LeastSquares, Tychonov
from course_lib.operators import Blur, gaussian_kernel

SIZE = (1, 12, 10)
OP = Blur(gaussian_kernel(1.0, 5, torch.float64), SIZE)
Y = torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
F = LeastSquares(OP, Y) + Tychonov(0.2)
TOP = (OP.gain + 0.4 * laplacian_symbol(SIZE[1:])).max().item()


def heat(u, tau, n, *, power=True):
    factor = 1 - 2 * tau * laplacian_symbol(u.shape[-2:])
    return irfft2((factor**n if power else 1 - n * (1 - factor)) * rfft2(u), s=u.shape[-2:])


def descent(grad, project, u, tau, n, *, rule=None, last=True):
    visited = [u]
    for _ in range(n):
        u = rule(grad, project, u, tau) if rule else project(u - tau * grad(u))
        visited.append(u)
    return torch.stack(visited if last else visited[:-1])


def descending(rule):
    return lambda *arguments: descent(*arguments, rule=rule)


def steps(lam, eps, r, *, curvature=8.0, power=2):
    rate = 1 - 1 / (1 + curvature * lam / eps)
    return math.ceil(power * math.log(r) / math.log(rate))


RIGHT = {
    "projected": lambda: check_projected_gradient(descent),
    "steps": lambda: check_number_of_steps(steps),
    "gradient": lambda: check_gradient(F, F.grad, SIZE),
    "step": lambda: check_step_bound(lambda: 2 / TOP, F.hvp, SIZE),
    "heat": lambda: check_heat(heat),
}
WRONG = {
    "projected-first": lambda: check_projected_gradient(
        descending(lambda grad, project, u, tau: project(u) - tau * grad(project(u)))
    ),
    "projected-gradient": lambda: check_projected_gradient(
        descending(lambda grad, project, u, tau: u - tau * project(grad(u)))
    ),
    "projected-uphill": lambda: check_projected_gradient(
        descending(lambda grad, project, u, tau: project(u + tau * grad(u)))
    ),
    "projected-two-per-cent": lambda: check_projected_gradient(
        descending(lambda grad, project, u, tau: project(u - 1.02 * tau * grad(u)))
    ),
    "projected-row": lambda: check_projected_gradient(
        lambda *arguments: descent(*arguments, last=False)
    ),
    "steps-not-squared": lambda: check_number_of_steps(lambda *a: steps(*a, power=1)),
    "steps-curvature": lambda: check_number_of_steps(lambda *a: steps(*a, curvature=16.0)),
    "steps-two-per-cent": lambda: check_number_of_steps(lambda *a: steps(*a, curvature=8.16)),
    "steps-one-more": lambda: check_number_of_steps(lambda *a: steps(*a) + 1),
    "steps-one-less": lambda: check_number_of_steps(lambda *a: steps(*a) - 1),
    "gradient-factor": lambda: check_gradient(F, lambda u: 1.01 * F.grad(u), SIZE),
    "gradient-shape": lambda: check_gradient(F, lambda u: F.grad(u)[0], SIZE),
    "step-sum-of-maxima": lambda: check_step_bound(lambda: 2 / F.lipschitz, F.hvp, SIZE),
    "step-too-long": lambda: check_step_bound(lambda: 2.02 / TOP, F.hvp, SIZE),
    "heat-linear": lambda: check_heat(lambda u, t, n: heat(u, t, n, power=False)),
    "heat-one-step": lambda: check_heat(lambda u, t, n: u + 2 * t * laplacian(u)),
    "gradient-turned": lambda: check_gradient(F, lambda u: F.grad(u).roll(1, -1), SIZE),
    "gradient-penalty": lambda: check_gradient(
        F, lambda u: LeastSquares(OP, Y).grad(u) + Tychonov(0.204).grad(u), SIZE
    ),
    "step-too-short": lambda: check_step_bound(lambda: 1.98 / TOP, F.hvp, SIZE),
    "step-half": lambda: check_step_bound(lambda: 1 / TOP, F.hvp, SIZE),
    "heat-two-per-cent": lambda: check_heat(lambda u, t, n: heat(u, 1.02 * t, n)),
    "heat-one-step-less": lambda: check_heat(lambda u, t, n: heat(u, t, n - 1)),
    "heat-other-axis": lambda: check_heat(lambda u, t, n: heat(u.mT, t, n).mT.roll(1, -1)),
}

test_right_answers_pass, test_wrong_answers_get_a_hint = judged(RIGHT, WRONG)
