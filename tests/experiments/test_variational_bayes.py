"""What the numbers of chapter 11 rest on."""

import pytest
import torch

from course_lib.experiments.variational_bayes import (
    LINEAR_PROBLEMS,
    linear_measurements,
    linear_world,
    problem,
)


def test_half_of_the_pixels_exactly():
    mask = problem("inpaint").mask
    assert mask.sum() == 64 * 64 / 2


@pytest.mark.parametrize("name", ["deblur", "deblur_fine", "x2", "inpaint"])
def test_noise_is_in_the_unit_of_the_image(name):
    levels = {"deblur": 7.65, "deblur_fine": 2.55, "x2": 1.0, "inpaint": 1.0}
    assert problem(name).noise_model.sigma == pytest.approx(levels[name] / 255)


@pytest.mark.parametrize("name", LINEAR_PROBLEMS)
def test_measurements_have_the_law_of_the_world(name):
    """4000 draws: mean log p(y) is minus the entropy, to four standard errors."""
    world = linear_world(name)
    log_p = world.log_evidence(linear_measurements(world, 4000))
    m = len(world.A)
    # For a Gaussian -log p(y) - entropy is half a centred chi-square: variance m / 2.
    spread = world.A @ world.prior.x.covariance @ world.A.T
    spread = spread + world.sigma**2 * torch.eye(m, dtype=torch.float64)
    entropy = 0.5 * torch.logdet(2 * torch.pi * torch.e * spread)
    assert abs(log_p.mean() + entropy) < 4 * (m / 2 / 4000) ** 0.5
