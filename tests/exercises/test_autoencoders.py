"""Exercises on autoencoders: right answers pass, plausible wrong ones are refused."""

import math

import torch
from helpers import judged

from course_lib.exercises import check_attention, check_loss_in_nats, check_rate, check_to_display


def rate(mean, log_std, *, twice=2):
    return 0.5 * (mean**2 + (2 * log_std).exp() - 1 - twice * log_std).flatten(1).sum(1)


def nats(mse, rate, n, s, *, constant=True):
    value = n * mse / (2 * s**2) + n * math.log(s) + rate
    return value + constant * n / 2 * math.log(2 * math.pi)


def for_screen(x, *, clip=True, whole=torch.round):
    levels = whole((x + 1) * 127.5)
    return (levels.clamp(0, 255) if clip else levels).to(torch.int32).byte().movedim(0, -1)


def attention(scores, lost, *, guard=True):
    weights = scores.masked_fill(lost, -torch.inf).softmax(1)
    return weights.nan_to_num(0.0) if guard else weights


RIGHT = {
    "rate": lambda: check_rate(rate),
    "nats": lambda: check_loss_in_nats(nats),
    "screen": lambda: check_to_display(for_screen),
    "attention": lambda: check_attention(attention),
}
WRONG = {
    "rate-log-variance": lambda: check_rate(lambda *args: rate(*args, twice=1)),
    "rate-mean": lambda: check_rate(lambda *args: rate(*args) / 6),
    "rate-of-the-batch": lambda: check_rate(lambda *args: rate(*args).sum()),
    "nats-no-constant": lambda: check_loss_in_nats(lambda *a: nats(*a, constant=False)),
    "nats-report": lambda: check_loss_in_nats(lambda mse, rate, n, s: mse + rate),
    "screen-wraps": lambda: check_to_display(lambda x: for_screen(x, clip=False)),
    "screen-cut-off": lambda: check_to_display(lambda x: for_screen(x, whole=torch.floor)),
    "screen-float": lambda: check_to_display(lambda x: for_screen(x).float()),
    "screen-channels": lambda: check_to_display(lambda x: for_screen(x).movedim(-1, 0)),
    "screen-bgr": lambda: check_to_display(lambda x: for_screen(x).flip(-1)),
    "attention-after": lambda: check_attention(lambda scores, lost: scores.softmax(1) * ~lost),
    "attention-rows": lambda: check_attention(lambda s, lost: attention(s.T, lost).T),
    "attention-nan": lambda: check_attention(lambda *a: attention(*a, guard=False)),
    "rate-two-per-cent": lambda: check_rate(lambda *args: 1.02 * rate(*args)),
    "rate-one-latent-short": lambda: check_rate(lambda m, s: rate(m[:, :, :1], s[:, :, :1])),
    "rate-mean-counted-twice": lambda: check_rate(lambda m, s: rate(1.02 * m, s)),
    "nats-one-pixel-less": lambda: check_loss_in_nats(lambda m, r, n, s: nats(m, r, n - 1, s)),
    "nats-rate-two-per-cent": lambda: check_loss_in_nats(
        lambda m, r, n, s: nats(m, 1.02 * r, n, s)
    ),
    "screen-255-over-256": lambda: check_to_display(lambda x: for_screen((x + 1) * 255 / 256 - 1)),
    "screen-turned": lambda: check_to_display(lambda x: for_screen(x).flip(0)),
    "attention-two-per-cent": lambda: check_attention(lambda *args: 1.02 * attention(*args)),
    "attention-sharper": lambda: check_attention(lambda s, lost: attention(1.02 * s, lost)),
    "attention-next-column": lambda: check_attention(lambda s, lost: attention(s, lost.roll(1))),
}

test_right_answers_pass, test_wrong_answers_get_a_hint = judged(RIGHT, WRONG)
