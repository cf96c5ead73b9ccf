"""Exercises on untrained priors: right answers pass, plausible wrong ones are refused."""

from helpers import judged

from course_lib.exercises import check_filter_factors, check_moving_variance, check_receptive_field


def variance(x, w, correction=0):
    return x.unfold(0, w, 1).var(-1, correction=correction).mean(1)


def field(sizes, strides, *, late=True):
    seen, spacing = 1, 1
    for size, stride in zip(sizes, strides, strict=True):
        spacing *= 1 if late else stride
        seen += (size - 1) * spacing
        spacing *= stride if late else 1
    return seen


RIGHT = {
    "filter": lambda: check_filter_factors(lambda s, tau, k: 1 - (1 - tau * s**2) ** k),
    "variance": lambda: check_moving_variance(variance),
    "field": lambda: check_receptive_field(field),
}
WRONG = {
    "filter-linear": lambda: check_filter_factors(lambda s, tau, k: 1 - (1 - tau * s) ** k),
    "filter-off-by-one": lambda: check_filter_factors(
        lambda s, tau, k: 1 - (1 - tau * s**2) ** (k - 1)
    ),
    "variance-unbiased": lambda: check_moving_variance(lambda x, w: variance(x, w, 1)),
    "variance-global-mean": lambda: check_moving_variance(
        lambda x, w: (x - x.mean(0)).unfold(0, w, 1).square().mean((1, 2))
    ),
    "field-sum": lambda: check_receptive_field(lambda sizes, strides: sum(sizes)),
    "field-early": lambda: check_receptive_field(lambda *a: field(*a, late=False)),
    "filter-two-per-cent": lambda: check_filter_factors(
        lambda s, tau, k: 1 - (1 - 1.02 * tau * s**2) ** k
    ),
    "filter-error": lambda: check_filter_factors(lambda s, tau, k: (1 - tau * s**2) ** k),
    "filter-one-value": lambda: check_filter_factors(
        lambda s, tau, k: 1 - (1 - tau * s.roll(1) ** 2) ** k
    ),
    "variance-two-per-cent": lambda: check_moving_variance(lambda x, w: 1.02 * variance(x, w)),
    "variance-late": lambda: check_moving_variance(lambda x, w: variance(x, w).roll(1)),
    "variance-over-pixels": lambda: check_moving_variance(
        lambda x, w: x.unfold(0, w, 1).var(1, correction=0).mean(1)
    ),
    "field-one-more": lambda: check_receptive_field(lambda *a: field(*a) + 1),
    "field-last-stride": lambda: check_receptive_field(
        lambda sizes, strides: field(sizes, [*strides[1:], 1])
    ),
}

test_right_answers_pass, test_wrong_answers_get_a_hint = judged(RIGHT, WRONG)
