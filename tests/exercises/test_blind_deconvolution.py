"""Exercises on blind deconvolution: right answers pass, plausible wrong ones are refused."""

import torch
from helpers import judged

from course_lib.exercises import (
    check_kernel_gradient,
    check_slope_through_projection,
    check_trivial_pair,
)


def identity(h):
    return torch.zeros_like(h).index_fill(2, torch.tensor(1), 1.0) * torch.tensor([0.0, 1.0, 0.0])


def kernel_gradient(h, x, y):
    r = sum(h[t] * x.roll(t - 1) for t in range(3)) - y
    return torch.stack([x.roll(t - 1) @ r for t in range(3)])


def slope(g, p):
    inside = p > 0
    return torch.where(inside, g - g[inside].mean(), 0)


RIGHT = {
    "trivial": lambda: check_trivial_pair(lambda x, h, blur: (blur(x), identity(h))),
    "kernel": lambda: check_kernel_gradient(kernel_gradient),
    "slope": lambda: check_slope_through_projection(slope),
}
WRONG = {
    "trivial-sharp": lambda: check_trivial_pair(lambda x, h, blur: (x, identity(h))),
    "trivial-same": lambda: check_trivial_pair(lambda x, h, blur: (x, h)),
    "kernel-convolved": lambda: check_kernel_gradient(
        lambda h, x, y: kernel_gradient(h, x, y).flip(0)
    ),
    "kernel-no-residual": lambda: check_kernel_gradient(lambda h, x, y: kernel_gradient(h, x, -y)),
    "slope-all": lambda: check_slope_through_projection(lambda g, p: g - g.mean()),
    "slope-no-mean": lambda: check_slope_through_projection(lambda g, p: g * (p > 0)),
    "trivial-shifted": lambda: check_trivial_pair(
        lambda x, h, blur: (blur(x), identity(h).roll(1, -1))
    ),
    "trivial-two-per-cent": lambda: check_trivial_pair(
        lambda x, h, blur: (blur(x), identity(h) * 0.98 + h * 0.02)
    ),
    "trivial-brighter": lambda: check_trivial_pair(
        lambda x, h, blur: (1.02 * blur(x), identity(h))
    ),
    "kernel-two-per-cent": lambda: check_kernel_gradient(
        lambda h, x, y: 1.02 * kernel_gradient(h, x, y)
    ),
    "kernel-next-tap": lambda: check_kernel_gradient(lambda *args: kernel_gradient(*args).roll(1)),
    "slope-two-per-cent": lambda: check_slope_through_projection(lambda g, p: 1.02 * slope(g, p)),
    "slope-one-entry-more": lambda: check_slope_through_projection(
        lambda g, p: torch.where(p > 0, g - g[p > 0].sum() / ((p > 0).sum() + 1), 0)
    ),
}

test_right_answers_pass, test_wrong_answers_get_a_hint = judged(RIGHT, WRONG)
