"""Exercises on measuring: right answers pass, plausible wrong ones are refused."""

import torch
from helpers import judged

from course_lib.exercises import check_coverage, check_energy_score, check_equal_error
from course_lib.metrics import interval_coverage


def at_level(x, d, level):
    return x + 10 ** (-level / 20) / d.square().mean().sqrt() * d


def covered(samples, truth, alpha, *, corrected=True):
    stack = [u[:, None, None, None, :] for u in (samples, truth[None])]
    return interval_coverage(stack[0], stack[1][0], alpha, corrected=corrected).item()


def rounded_down(samples, truth, alpha):
    """The rank is the whole part of alpha (S + 1), a few per cent too low unless that is whole."""
    count, mean = len(samples), samples.mean(0)
    ranked = (samples - mean).abs().sort(0).values
    half = ranked[int(alpha * (count + 1)) - 1] * ((count + 1) / (count - 1)) ** 0.5
    return ((truth - mean).abs() <= half).double().mean()


def energy(samples, truth, *, weight=0.5):
    s = len(samples)
    spread = torch.cdist(samples, samples).sum() / (s * (s - 1))
    return (samples - truth).norm(dim=1).mean() - weight * spread


RIGHT = {
    "equal": lambda: check_equal_error(at_level),
    "coverage": lambda: check_coverage(covered),
    "energy": lambda: check_energy_score(energy),
}
WRONG = {
    "equal-power": lambda: check_equal_error(
        lambda x, d, level: x + 10 ** (-level / 10) / d.square().mean().sqrt() * d
    ),
    "equal-not-on-the-ray": lambda: check_equal_error(lambda x, d, level: at_level(x, -d, level)),
    "coverage-raw": lambda: check_coverage(lambda *args: covered(*args, corrected=False)),
    "coverage-no-root": lambda: check_coverage(
        lambda samples, truth, alpha: covered(20 / 19 * samples, truth, alpha)
    ),
    "coverage-rounded-down": lambda: check_coverage(rounded_down),
    "coverage-the-level-itself": lambda: check_coverage(lambda *args: args[2]),
    "energy-all-pairs": lambda: check_energy_score(
        lambda samples, truth: energy(samples, truth, weight=0.5 * (1 - 1 / len(samples)))
    ),
    "energy-closeness-alone": lambda: check_energy_score(lambda *args: energy(*args, weight=0)),
    "energy-twice-the-spread": lambda: check_energy_score(lambda *args: energy(*args, weight=1)),
    "equal-two-per-cent": lambda: check_equal_error(
        lambda x, d, level: at_level(x, d, 1.02 * level)
    ),
    "equal-one-pixel-less": lambda: check_equal_error(
        lambda x, d, level: x + (at_level(x, d, level) - x) * (179 / 180) ** 0.5
    ),
    "equal-rows": lambda: check_equal_error(
        lambda x, d, level: at_level(x, d / d.norm(dim=-1, keepdim=True), level)
    ),
    "coverage-one-rank-more": lambda: check_coverage(
        lambda samples, truth, alpha: covered(samples, truth, alpha + 1 / 21)
    ),
    "coverage-two-per-cent": lambda: check_coverage(
        lambda samples, truth, alpha: covered(samples, truth, alpha) * 1.02
    ),
    "coverage-root-upside-down": lambda: check_coverage(
        lambda samples, truth, alpha: covered(19 / 21 * samples, truth, alpha)
    ),
    "energy-two-per-cent": lambda: check_energy_score(lambda *args: 1.02 * energy(*args)),
    "energy-spread-two-per-cent": lambda: check_energy_score(
        lambda *args: energy(*args, weight=0.51)
    ),
    "energy-squares": lambda: check_energy_score(
        lambda s, x: (s - x).square().sum(1).mean() - 0.5 * torch.cdist(s, s).square().mean()
    ),
}

test_right_answers_pass, test_wrong_answers_get_a_hint = judged(RIGHT, WRONG)
