"""Exercises on inversion: right answers pass, plausible wrong ones are refused."""

import torch
from helpers import judged

from course_lib.exercises import (
    check_best_discriminator,
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


def ascent(p, drawn):
    """Newton's method on the logits, which knows no formula."""
    logit = torch.zeros_like(p)
    for _ in range(50):
        c = logit.sigmoid()
        logit = logit + (p * (1 - c) - drawn * c) / ((p + drawn) * c * (1 - c))
    return logit.sigmoid()


RIGHT = {
    "discriminator": lambda: check_best_discriminator(lambda p, drawn: p / (p + drawn)),
    "discriminator-logit": lambda: check_best_discriminator(
        lambda p, drawn: (p.log() - drawn.log()).sigmoid()
    ),
    "discriminator-numpy": lambda: check_best_discriminator(
        lambda p, drawn: torch.from_numpy(1 / (1 + drawn.numpy() / p.numpy()))
    ),
    "discriminator-float32": lambda: check_best_discriminator(
        lambda p, drawn: p.float() / (p + drawn).float()
    ),
    "discriminator-ascent": lambda: check_best_discriminator(ascent),
    "nearest": lambda: check_nearest_in_model(nearest),
    "weight": lambda: check_latent_weight(lambda lam, m, sigma: lam * m / sigma**2),
    "bear": lambda: check_effective_noise(
        lambda A, sigma, std: (sigma**2 + std**2 * A.square().sum().item() / len(A)) ** 0.5
    ),
    "x-step": lambda: check_x_step(x_step),
}
WRONG = {
    "discriminator-the-other": lambda: check_best_discriminator(
        lambda p, drawn: drawn / (p + drawn)
    ),
    "discriminator-ratio": lambda: check_best_discriminator(lambda p, drawn: p / drawn),
    "discriminator-sign": lambda: check_best_discriminator(
        lambda p, drawn: (p > drawn) * 0.98 + 0.01
    ),
    "discriminator-difference": lambda: check_best_discriminator(
        lambda p, drawn: (p - drawn).sigmoid()
    ),
    "discriminator-half": lambda: check_best_discriminator(
        lambda p, drawn: p / (p + drawn) / 2 + 0.25
    ),
    "discriminator-squares": lambda: check_best_discriminator(
        lambda p, drawn: p**2 / (p**2 + drawn**2)
    ),
    "discriminator-sum": lambda: check_best_discriminator(lambda p, drawn: p / (p + drawn).sum()),
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
    "nearest-two-per-cent": lambda: check_nearest_in_model(
        lambda A, W, c, y: c + 1.02 * (nearest(A, W, c, y) - c)
    ),
    "nearest-one-latent-less": lambda: check_nearest_in_model(
        lambda A, W, c, y: nearest(A, W[:, :3], c, y)
    ),
    "nearest-outside": lambda: check_nearest_in_model(
        lambda A, W, c, y: 1.02 * nearest(A, W, c, y)
    ),
    "weight-two-per-cent": lambda: check_latent_weight(lambda lam, m, s: 1.02 * lam * m / s**2),
    "weight-one-less": lambda: check_latent_weight(lambda lam, m, s: lam * (m - 1) / s**2),
    "bear-two-per-cent": lambda: check_effective_noise(
        lambda A, s, std: 1.02 * (s**2 + std**2 * A.square().sum().item() / len(A)) ** 0.5
    ),
    "bear-one-row-less": lambda: check_effective_noise(
        lambda A, s, std: (s**2 + std**2 * A[1:].square().sum().item() / len(A)) ** 0.5
    ),
    "bear-largest-gain": lambda: check_effective_noise(
        lambda A, s, std: (s**2 + std**2 * torch.linalg.matrix_norm(A, 2).item() ** 2) ** 0.5
    ),
    "x-step-two-per-cent": lambda: check_x_step(lambda *a: 1.02 * x_step(*a)),
    "x-step-next-pixel": lambda: check_x_step(lambda y, mask, *a: x_step(y, mask.roll(1, -1), *a)),
    "x-step-no-squares": lambda: check_x_step(
        lambda y, mask, generated, s, std: x_step(y, mask, generated, s**0.5, std**0.5)
    ),
}

test_right_answers_pass, test_wrong_answers_get_a_hint = judged(RIGHT, WRONG)
