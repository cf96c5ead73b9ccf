"""The weight of a penalty that makes images most likely."""

import math

import torch

from course_lib.functionals import InvariantSparsity, fitted_potential


def test_fitted_weight_is_the_most_likely_one(generator):
    """lam = n / mean R maximises n log lam - lam mean R."""
    penalty = InvariantSparsity(1.0, (1, 16, 16))
    x = torch.rand(4, 1, 16, 16, generator=generator, dtype=torch.float64)
    q, mean, n = fitted_potential(penalty, x), penalty(x).mean().item(), 256
    lam = (q(x) / penalty(x))[0].item()
    values = [n * math.log(w * lam) - w * lam * mean for w in (0.9, 1.0, 1.1)]
    assert values[1] == max(values)
    assert values[1] > n * math.log(1.001 * lam) - 1.001 * lam * mean
