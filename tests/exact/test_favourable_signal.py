"""The hypotheses of Theorem 1 hold for the signal of chapter 14."""

import pytest
import torch

from course_lib.diffusion import potential_gradient
from course_lib.exact import favourable_signal
from course_lib.operators import Blur


def test_the_signal_is_a_critical_point_and_the_kernel_inside_the_simplex():
    prior, sigma, x, kernel, y = favourable_signal()
    assert potential_gradient(prior, x, sigma).abs().max() < 1e-12
    assert kernel.min() > 0
    assert kernel.sum().item() == pytest.approx(1)
    torch.testing.assert_close(Blur(kernel, (1, 1, 24)).A(x), y)


def test_the_signal_stays_near_its_centre():
    """Three centres far apart: the other two move x by exp(-|c_k - c_1|^2 / (2 sigma^2))."""
    prior, sigma, x, *_ = favourable_signal()
    gap = (prior.centres[1:] - prior.centres[:1]).flatten(1).square().sum(1).min()
    assert (x - prior.centres[:1]).abs().max() < 4 * torch.exp(-gap / (2 * sigma**2))
