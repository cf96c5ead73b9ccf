"""Gauss-Legendre quadrature, and potentials whose trace it integrates."""

import math

import pytest
import torch

from course_lib.diffusion import (
    GaussLegendre,
    Hutchinson,
    estimate_potential,
    potential,
    rademacher,
)
from course_lib.exact import EmpiricalMixture, power_law

SMALL = (1, 16, 16)


def test_it_is_exact_for_polynomials_up_to_its_degree():
    for n in (1, 3, 6):
        for degree in range(2 * n):
            found = sum(w * u**degree for u, w in GaussLegendre(n).nodes(-1.0, 2.0))
            exact = (2 ** (degree + 1) - (-1) ** (degree + 1)) / (degree + 1)
            assert found == pytest.approx(exact, rel=1e-12)


def test_no_node_is_refused():
    with pytest.raises(ValueError, match="expected a number of nodes >= 1, got 0"):
        GaussLegendre(0)


def impulse():
    probe = torch.zeros(1, *SMALL, dtype=torch.float64)
    probe[0, 0, 0, 0] = math.sqrt(math.prod(SMALL))
    return Hutchinson(probe)


def test_gaussian_world(generator):
    """1.5e-4 nats per dimension with ten traces, where seven steps take 43 for 1e-6."""
    world = power_law(SMALL)
    x = world.sample(6, generator=generator, sigma=0.01)
    exact = world.potential(x, 0.01)
    found = estimate_potential(world, x, GaussLegendre(10), impulse(), sigma_min=0.01)
    torch.testing.assert_close(found.value, exact, rtol=0, atol=0.05)  # nats in 256 dimensions
    assert (found.evaluations == 11 * 7 + 10).all()


def test_the_error_falls_geometrically(generator):
    world = power_law(SMALL)
    x = world.sample(2, generator=generator, sigma=0.01)
    limit = potential(world, x, GaussLegendre(60), impulse(), sigma_min=0.01)
    errors = [
        (potential(world, x, GaussLegendre(n), impulse(), sigma_min=0.01) - limit).norm().item()
        for n in (5, 10, 20)
    ]
    assert errors[1] < errors[0] / 20
    assert errors[2] < errors[1] / 20


@pytest.mark.slow
def test_it_agrees_with_steps_in_a_world_that_is_not_gaussian(generator):
    """A mixture: sharp changes of the denoiser in time need more nodes, and the limit is one."""
    mixture = EmpiricalMixture(torch.rand(5, 1, 4, 4, generator=generator).double())
    x = mixture.sample(3, generator=generator, sigma=0.1)
    probes = Hutchinson(rademacher((1, 4, 4), 2, generator=generator).double())
    by_steps = estimate_potential(mixture, x, 150, probes, sigma_min=0.1)
    by_nodes = estimate_potential(mixture, x, GaussLegendre(150), probes, sigma_min=0.1)
    # The steps are off by 2e-5 from four times as many
    torch.testing.assert_close(by_nodes.by_probe, by_steps.by_probe, rtol=0, atol=1e-4)
    torch.testing.assert_close(by_nodes.latent, by_steps.latent, rtol=0, atol=1e-5)
    exact = mixture.potential(x, 0.1)
    found = potential(mixture, x, GaussLegendre(150), "exact", sigma_min=0.1)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-3)
