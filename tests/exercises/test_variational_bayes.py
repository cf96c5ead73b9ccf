"""Exercises on variational bayes: right answers pass, plausible wrong ones are refused."""

import math
from functools import partial

import torch
from helpers import judged

from course_lib.exercises import check_image_divergence, check_log_density, check_mean_field_scale


def log_density(L, r, *, half=0.5):
    constant = len(r) / 2 * math.log(2 * math.pi)
    return torch.logdet(L) - half * (L.T @ r).square().sum() - constant


def divergence(b):
    return (b.square() - 1).sum() / 2 - b.log().sum()


RIGHT = {
    "log density": lambda: check_log_density(log_density),
    "scales": lambda: check_image_divergence(divergence),
    "mean field": lambda: check_mean_field_scale(lambda P: P.diagonal().rsqrt()),
    "mean field-numerical": lambda: check_mean_field_scale(
        lambda P: P.diagonal().rsqrt() * (1 + 1e-8)
    ),
}
WRONG = {
    "log density-half": lambda: check_log_density(partial(log_density, half=1.0)),
    "log density-precision": lambda: check_log_density(
        lambda L, r: log_density(torch.linalg.inv(L).T, r)
    ),
    "scales-constant": lambda: check_image_divergence(lambda b: divergence(b) + 0.5 * len(b)),
    "mean field-negative": lambda: check_mean_field_scale(lambda P: -P.diagonal().rsqrt()),
    "mean field-marginal": lambda: check_mean_field_scale(
        lambda P: torch.linalg.inv(P).diagonal().sqrt()
    ),
    "log density-two-per-cent": lambda: check_log_density(lambda L, r: 1.02 * log_density(L, r)),
    "log density-transposed": lambda: check_log_density(
        lambda L, r: log_density(L, r) + ((L.T @ r).square().sum() - (L @ r).square().sum()) / 2
    ),
    "log density-one-number-less": lambda: check_log_density(
        lambda L, r: log_density(L, r) + math.log(2 * math.pi) / 2
    ),
    "scales-two-per-cent": lambda: check_image_divergence(lambda b: 1.02 * divergence(b)),
    "scales-one-pixel-less": lambda: check_image_divergence(lambda b: divergence(b[1:])),
    "scales-other-way": lambda: check_image_divergence(lambda b: divergence(1 / b)),
    "mean field-two-per-cent": lambda: check_mean_field_scale(
        lambda P: 1.02 * P.diagonal().rsqrt()
    ),
    "mean field-next": lambda: check_mean_field_scale(lambda P: P.diagonal().rsqrt().roll(1)),
    "mean field-rows": lambda: check_mean_field_scale(lambda P: P.norm(dim=1).rsqrt()),
}

test_right_answers_pass, test_wrong_answers_get_a_hint = judged(RIGHT, WRONG)
