"""Exercises on likelihood: right answers pass, plausible wrong ones are refused."""

import math

import torch
from helpers import judged

from course_lib.exercises import check_bits, check_trace, check_velocity


def rate(mean, log_std, *, twice=2):
    return 0.5 * (mean**2 + (2 * log_std).exp() - 1 - twice * log_std).flatten(1).sum(1)


def nats(mse, rate, n, s, *, constant=True):
    value = n * mse / (2 * s**2) + n * math.log(s) + rate
    return value + constant * n / 2 * math.log(2 * math.pi)


def trace(pull, x, generator):
    e = 2.0 * torch.randint(0, 2, x.shape, generator=generator) - 1
    return e.to(x) @ pull(e.to(x))


def bits(nats, n, low, high):
    return nats / (n * math.log(2)) + math.log2(256 / (high - low))


RIGHT = {
    "velocity": lambda: check_velocity(lambda x, s, f, g: f * x - g**2 * s / 2),
    "trace": lambda: check_trace(trace),
    "bits": lambda: check_bits(bits),
}
WRONG = {
    "velocity-plus": lambda: check_velocity(lambda x, s, f, g: f * x + g**2 * s / 2),
    "velocity-whole": lambda: check_velocity(lambda x, s, f, g: f * x - g**2 * s),
    "trace-normal": lambda: check_trace(
        lambda pull, x, g: (e := torch.randn(8, generator=g).double()) @ pull(e)
    ),
    "trace-biased": lambda: check_trace(lambda pull, x, g: pull(torch.ones_like(x)).sum()),
    "bits-no-cell": lambda: check_bits(lambda nats, n, a, b: nats / (n * math.log(2))),
    "bits-one-range": lambda: check_bits(lambda nats, n, a, b: nats / (n * math.log(2)) + 8),
}

test_right_answers_pass, test_wrong_answers_get_a_hint = judged(RIGHT, WRONG)
