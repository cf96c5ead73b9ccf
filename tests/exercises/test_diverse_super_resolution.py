"""Exercises on diverse super resolution: right answers pass, plausible wrong ones are refused."""

import torch
from helpers import judged

from course_lib.exercises import check_bins, check_group_price, check_projection


def price(m_q, l_q, m_p, l_p, *, half=0.5):
    square = ((2 * l_q).exp() + (m_q - m_p) ** 2) * (-2 * l_p).exp()
    return (l_p - l_q + half * (square - 1)).flatten(1).sum(1)


def project(x, y, A, A_dagger):
    return x - A_dagger(A(x) - y)


def bins(mean, scale, n, *, half=1.0, ends=True):
    levels = 2 * torch.arange(n).double() / (n - 1) - 1
    low, high = (torch.sigmoid((levels + sign * half / (n - 1) - mean) / scale) for sign in (-1, 1))
    if ends:
        low[0], high[-1] = 0, 1
    return high - low


RIGHT = {
    "price": lambda: check_group_price(price),
    "projection": lambda: check_projection(project),
    "bins": lambda: check_bins(bins),
}
WRONG = {
    "price-other-way": lambda: check_group_price(lambda a, b, c, d: price(c, d, a, b)),
    "price-whole": lambda: check_group_price(lambda *a: price(*a, half=1.0)),
    "price-mean": lambda: check_group_price(lambda *a: price(*a) / 12),
    "projection-gradient": lambda: check_projection(
        lambda x, y, A, A_dagger: x - 0.5 * A_dagger(A(x) - y)
    ),
    "projection-replaces": lambda: check_projection(lambda x, y, A, A_dagger: A_dagger(y) + 0 * x),
    "bins-wide": lambda: check_bins(lambda *a: bins(*a, half=1.03)),
    "bins-closed": lambda: check_bins(lambda *a: bins(*a, ends=False)),
    "price-two-per-cent": lambda: check_group_price(lambda *a: 1.02 * price(*a)),
    "price-batch": lambda: check_group_price(lambda *a: price(*a).flip(0)),
    "price-variance": lambda: check_group_price(lambda a, b, c, d: price(a, b, c, 1.02 * d)),
    "projection-two-per-cent": lambda: check_projection(
        lambda x, y, A, A_dagger: x - 1.02 * A_dagger(A(x) - y)
    ),
    "projection-next-image": lambda: check_projection(
        lambda x, y, A, A_dagger: x - A_dagger(A(x) - y.roll(1, 0))
    ),
    "projection-not-nearest": lambda: check_projection(
        lambda x, y, A, A_dagger: 1.02 * x - A_dagger(A(1.02 * x) - y)
    ),
    "bins-one-level-more": lambda: check_bins(lambda m, s, n: bins(m, s, n + 1)[:n]),
    "bins-two-per-cent": lambda: check_bins(lambda *a: 1.02 * bins(*a)),
    "bins-scale": lambda: check_bins(lambda m, s, n: bins(m, 1.02 * s, n)),
}

test_right_answers_pass, test_wrong_answers_get_a_hint = judged(RIGHT, WRONG)
