"""Measurements of the pattern world, by their likelihood."""

import pytest
import torch

from course_lib.exact import draw_measurements, pattern_world
from course_lib.rng import generator_from


@pytest.mark.parametrize("name", ["inpaint", "deblur", "sensing"])
def test_measurements_have_the_evidence_of_the_world(name):
    """4000 draws: mean log p(y) is minus the entropy, to four standard errors."""
    world = pattern_world(name)
    log_p = world.log_evidence(draw_measurements(world, 4000, generator=generator_from(5)))
    m = len(world.A)
    # For a Gaussian -log p(y) - entropy is half a centred chi-square: variance m / 2.
    spread = world.A @ world.prior.x.covariance @ world.A.T
    spread = spread + world.sigma**2 * torch.eye(m, dtype=torch.float64)
    entropy = 0.5 * torch.logdet(2 * torch.pi * torch.e * spread)
    assert abs(log_p.mean() + entropy) < 4 * (m / 2 / 4000) ** 0.5
