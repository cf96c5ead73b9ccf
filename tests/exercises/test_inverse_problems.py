"""Exercises on inverse problems: right answers pass, plausible wrong ones are refused."""

import torch
from helpers import judged

from course_lib.exercises import check_adjoint, check_noise_gain, check_null_projection
from course_lib.operators import Downsampling, box_kernel

SIZE = (1, 12, 10)
COARSE = Downsampling((1, 12, 12), 2, box_kernel(2))
CHECKER = (-1.0) ** (torch.arange(12)[:, None] + torch.arange(12)).reshape(1, 1, 12, 12)
CORNER = torch.eye(2)[:1].T @ torch.eye(2)[:1]
CORNER = CORNER.repeat(6, 6).reshape(1, 1, 12, 12)  # one pixel of each block


def along(x, direction):
    """The part of x in this direction."""
    return (x * direction).sum() / direction.square().sum() * direction


RIGHT = {
    "adjoint": lambda: check_adjoint(lambda x: x.roll(1, -1), lambda v: v.roll(-1, -1), SIZE),
    "null": lambda: check_null_projection(
        lambda x: x - COARSE.A_dagger(COARSE.A(x)), COARSE.A, (1, 12, 12)
    ),
    "gain": lambda: check_noise_gain(lambda k, s: s * k.abs().pow(-2).mean().sqrt()),
}
WRONG = {
    "adjoint-same-way": lambda: check_adjoint(
        lambda x: x.roll(1, -1), lambda v: v.roll(1, -1), SIZE
    ),
    "adjoint-shape": lambda: check_adjoint(lambda x: x[..., ::2, :], lambda v: v, SIZE),
    "null-zero": lambda: check_null_projection(torch.zeros_like, COARSE.A, (1, 12, 12)),
    "null-identity": lambda: check_null_projection(lambda x: x, COARSE.A, (1, 12, 12)),
    "null-one-direction": lambda: check_null_projection(
        lambda x: along(x, CHECKER), COARSE.A, (1, 12, 12)
    ),
    "gain-no-inverse": lambda: check_noise_gain(lambda k, s: s * k.abs().pow(2).mean().sqrt()),
    "adjoint-two-per-cent": lambda: check_adjoint(
        lambda x: x.roll(1, -1), lambda v: 1.02 * v.roll(-1, -1), SIZE
    ),
    "adjoint-other-axis": lambda: check_adjoint(
        lambda x: x.roll(1, -1), lambda v: v.roll(-1, -2), SIZE
    ),
    "null-two-per-cent": lambda: check_null_projection(
        lambda x: 1.02 * (x - COARSE.A_dagger(COARSE.A(x))), COARSE.A, (1, 12, 12)
    ),
    "null-one-direction-less": lambda: check_null_projection(
        lambda x: x - COARSE.A_dagger(COARSE.A(x)) - along(x, CHECKER), COARSE.A, (1, 12, 12)
    ),
    "null-not-orthogonal": lambda: check_null_projection(
        lambda x: x - 4 * CORNER * COARSE.A_dagger(COARSE.A(x)), COARSE.A, (1, 12, 12)
    ),
    "gain-two-per-cent": lambda: check_noise_gain(
        lambda k, s: 1.02 * s * k.abs().pow(-2).mean().sqrt()
    ),
    "gain-mean-of-roots": lambda: check_noise_gain(lambda k, s: s * k.abs().pow(-1).mean()),
    "gain-half-the-grid": lambda: check_noise_gain(
        lambda k, s: s * k[:, : k.shape[1] // 2 + 1].abs().pow(-2).mean().sqrt()
    ),
}

test_right_answers_pass, test_wrong_answers_get_a_hint = judged(RIGHT, WRONG)
