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
    "velocity-drift": lambda: check_velocity(lambda x, s, f, g: 1.02 * f * x - g**2 * s / 2),
    "velocity-score": lambda: check_velocity(lambda x, s, f, g: f * x - 1.02 * g**2 * s / 2),
    "velocity-no-square": lambda: check_velocity(lambda x, s, f, g: f * x - g * s / 2),
    "trace-two-per-cent": lambda: check_trace(lambda *a: 1.02 * trace(*a)),
    "trace-one-less": lambda: check_trace(
        lambda pull, x, g: trace(lambda e: torch.cat([pull(e)[1:], 0 * e[:1]]), x, g)
    ),
    "trace-next-number": lambda: check_trace(
        lambda pull, x, g: trace(lambda e: pull(e).roll(1), x, g)
    ),
    "bits-two-per-cent": lambda: check_bits(lambda *a: 1.02 * bits(*a)),
    "bits-255-cells": lambda: check_bits(
        lambda nats, n, a, b: nats / (n * math.log(2)) + math.log2(255 / (b - a))
    ),
    "bits-one-dimension-less": lambda: check_bits(lambda nats, n, a, b: bits(nats, n - 1, a, b)),
}

test_right_answers_pass, test_wrong_answers_get_a_hint = judged(RIGHT, WRONG)
