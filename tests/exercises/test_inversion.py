"""Exercises on inversion: right answers pass, plausible wrong ones are refused."""

import torch
from helpers import judged

from course_lib.exercises import (
    check_effective_noise,
    check_latent_weight,
    check_nearest_in_model,
    check_x_step,
)


def nearest(A, W, c, y):
    return c + W @ torch.linalg.pinv(A @ W) @ (y - A @ c)


def x_step(y, mask, generated, sigma, std):
    gain = mask * std**2 / (sigma**2 + std**2)
    return generated + gain * (y - generated)


RIGHT = {
    "nearest": lambda: check_nearest_in_model(nearest),
    "weight": lambda: check_latent_weight(lambda lam, m, sigma: lam * m / sigma**2),
    "bear": lambda: check_effective_noise(
        lambda A, sigma, std: (sigma**2 + std**2 * A.square().sum().item() / len(A)) ** 0.5
    ),
    "x-step": lambda: check_x_step(x_step),
}
WRONG = {
    "nearest-whole": lambda: check_nearest_in_model(lambda A, W, c, y: torch.linalg.pinv(A) @ y),
    "nearest-no-mean": lambda: check_nearest_in_model(
        lambda A, W, c, y: W @ torch.linalg.pinv(A @ W) @ y
    ),
    "nearest-projected": lambda: check_nearest_in_model(
        lambda A, W, c, y: c + W @ torch.linalg.pinv(W) @ torch.linalg.pinv(A) @ (y - A @ c)
    ),
    "weight-upside-down": lambda: check_latent_weight(lambda lam, m, sigma: sigma**2 / (m * lam)),
    "weight-two": lambda: check_latent_weight(lambda lam, m, sigma: lam * m / 2 / sigma**2),
    "bear-sum": lambda: check_effective_noise(lambda A, sigma, std: sigma + std),
    "bear-variance": lambda: check_effective_noise(
        lambda A, sigma, std: sigma**2 + std**2 * A.square().sum().item() / len(A)
    ),
    "bear-columns": lambda: check_effective_noise(
        lambda A, s, std: (s**2 + std**2 * A.square().sum().item() / A.shape[1]) ** 0.5
    ),
    "x-step-seen": lambda: check_x_step(
        lambda y, mask, generated, sigma, std: mask * y + (1 - mask) * generated
    ),
    "x-step-weights": lambda: check_x_step(
        lambda y, mask, generated, sigma, std: x_step(y, mask, generated, std, sigma)
    ),
}

test_right_answers_pass, test_wrong_answers_get_a_hint = judged(RIGHT, WRONG)
