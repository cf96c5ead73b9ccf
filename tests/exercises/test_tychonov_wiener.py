"""Exercises on tychonov wiener: right answers pass, plausible wrong ones are refused."""

from functools import partial

import torch
from helpers import judged
from torch.fft import irfft2, rfft2

from course_lib.exercises import check_minimiser, check_residual, check_wiener_limits
from course_lib.finite_differences import laplacian_symbol
from course_lib.functionals import LeastSquares, Tychonov
from course_lib.operators import Blur, gaussian_kernel
from course_lib.solvers import tychonov

SIZE = (1, 12, 10)
OP = Blur(gaussian_kernel(1.0, 5, torch.float64), SIZE)
Y = torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
F = LeastSquares(OP, Y) + Tychonov(0.2)


def least_error(y, k, sigma, S, *, pixels=True):
    noise = sigma**2 * (y.shape[-2] * y.shape[-1] if pixels else 1)
    return irfft2(k.conj() / (k.abs() ** 2 + noise / S) * rfft2(y), s=y.shape[-2:])


def closed_form(op, y, lam, *, power=lambda k: k.abs().square(), back=torch.conj):
    u_hat = back(op.transfer) * rfft2(y)
    u_hat = u_hat / (power(op.transfer) + 2 * lam * laplacian_symbol(y.shape[-2:]))
    return irfft2(u_hat, s=y.shape[-2:])


RIGHT = {
    "minimiser": lambda: check_minimiser(closed_form),
    "minimiser-library": lambda: check_minimiser(lambda op, y, lam: tychonov(op, y, lam).x),
    "residual": lambda: check_residual(lambda: torch.full((4,), 0.1), 0.1),
    "wiener": lambda: check_wiener_limits(least_error),
}
WRONG = {
    "minimiser-lam": lambda: check_minimiser(lambda op, y, lam: closed_form(op, y, 0.95 * lam)),
    "minimiser-no-conjugate": lambda: check_minimiser(partial(closed_form, back=torch.clone)),
    "minimiser-square": lambda: check_minimiser(partial(closed_form, power=torch.square)),
    "minimiser-no-size": lambda: check_minimiser(
        lambda op, y, lam: closed_form(op, y, lam)[..., :-1]
    ),
    "residual-small": lambda: check_residual(lambda: torch.full((4,), 0.09), 0.1),
    "wiener-units": lambda: check_wiener_limits(lambda *args: least_error(*args, pixels=False)),
    "wiener-noise": lambda: check_wiener_limits(lambda y, k, s, S: least_error(y, k, 1.05 * s, S)),
    "wiener-no-conjugate": lambda: check_wiener_limits(
        lambda y, k, *a: least_error(y, k.conj(), *a)
    ),
    "wiener-inverse": lambda: check_wiener_limits(
        lambda y, k, s, S: irfft2(rfft2(y) / k, s=y.shape[-2:])
    ),
    "minimiser-two-per-cent": lambda: check_minimiser(lambda *a: 1.02 * closed_form(*a)),
    "minimiser-shifted": lambda: check_minimiser(lambda *a: closed_form(*a).roll(1, -1)),
    "residual-large": lambda: check_residual(lambda: torch.full((4,), 0.102), 0.1),
    "residual-one-pixel-less": lambda: check_residual(lambda: 0.1 * (torch.arange(4) > 0), 0.1),
    "wiener-two-per-cent": lambda: check_wiener_limits(lambda *args: 1.02 * least_error(*args)),
    "wiener-power": lambda: check_wiener_limits(lambda y, k, s, S: least_error(y, k, s, 1.02 * S)),
}

test_right_answers_pass, test_wrong_answers_get_a_hint = judged(RIGHT, WRONG)
