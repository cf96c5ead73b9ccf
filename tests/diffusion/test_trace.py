"""Traces of Jacobians against the Jacobian itself."""

import math

import pytest
import torch
from torch.func import jacrev

from course_lib.diffusion import Probing, potential, rademacher
from course_lib.diffusion.trace import ExactTrace, denoise_with_trace
from course_lib.exact import EmpiricalMixture, power_law
from course_lib.fourier import filter_image


def test_trace_of_the_jacobian(generator):
    mixture = EmpiricalMixture(torch.rand(4, 1, 2, 3, generator=generator).double())
    x = torch.rand(1, 1, 2, 3, generator=generator).double()
    exact = ExactTrace((1, 2, 3))
    sigma = torch.tensor([0.3], dtype=torch.float64)
    found, forms = denoise_with_trace(mixture, x, sigma, exact.vectors.double())
    jacobian = jacrev(lambda x: mixture(x, 0.3))(x).reshape(6, 6)
    torch.testing.assert_close(found, mixture(x, 0.3))
    torch.testing.assert_close(forms[:, 0], jacobian.diagonal(), rtol=1e-10, atol=1e-12)
    total = jacobian.trace().view(1, 1)
    torch.testing.assert_close(exact.combine(forms), total, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("img_size", [(1, 8, 8), (2, 5, 7)])
def test_probing_splits_the_signs(img_size, generator):
    """Each pixel belongs to one part, and pixels of a part are at least the stride apart."""
    signs = rademacher(img_size, 3, generator=generator)
    parts = Probing(signs, 4).vectors.view(3, 16, *img_size)
    torch.testing.assert_close(parts.sum(1), signs)
    assert (parts.abs().sum(1) == 1).all()
    for part in parts[0]:
        rows, columns = part[0].nonzero().T
        apart = torch.maximum((rows[:, None] - rows).abs(), (columns[:, None] - columns).abs())
        assert (apart[apart > 0] >= 4).all()


def test_probing_with_one_part_is_hutchinson(generator):
    signs = rademacher((1, 6, 6), 2, generator=generator)
    assert torch.equal(Probing(signs, 1).vectors[:, 0], signs)
    forms = torch.rand(2, 5, generator=generator)
    assert torch.equal(Probing(signs, 1).combine(forms), forms)


def test_probing_is_exact_for_short_ranges_and_has_the_variance_of_the_rest(generator):
    """In the Gaussian world J is a circulant: 2 sum of J_ij^2 over pairs a multiple of 4 apart."""
    world, sigma = power_law((1, 16, 16)), torch.tensor([0.05], dtype=torch.float64)
    x = world.sample(1, generator=generator, sigma=0.05)
    probing = Probing(rademacher((1, 16, 16), 400, generator=generator).double(), 4)
    _, forms = denoise_with_trace(world, x, sigma, probing.vectors)
    found = probing.combine(forms)[:, 0]
    unit = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    unit[..., 0, 0] = 1
    row = filter_image(unit, world.spectrum / (world.spectrum + 0.05**2))[0, 0]
    exact = 256 * row[0, 0]
    far = row[::4, ::4].square().sum() - row[0, 0].square()
    spread = math.sqrt(2 * 256 * far)
    assert abs(found.mean() - exact) < 4 * spread / math.sqrt(400)
    # The standard deviation of 400 draws has a relative error of 1 / sqrt(800)
    assert found.std().item() == pytest.approx(spread, rel=4 / math.sqrt(800))
    everything = math.sqrt(2 * 256 * (row.square().sum() - row[0, 0].square()))
    assert spread < everything / 10  # of one probe; sixteen independent ones have a quarter


def test_probes_for_each_image(generator):
    """Signs (K, B, C, H, W): what an image gets does not depend on its neighbours."""
    world = power_law((1, 8, 8))
    x = world.sample(3, generator=generator)
    signs = rademacher((3, 1, 8, 8), 2, generator=generator).double()
    together = potential(world, x, 4, Probing(signs))
    alone = potential(world, x[1:2], 4, Probing(signs[:, 1:2]))
    torch.testing.assert_close(together[1:2], alone, rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match="Probing: expected probes"):
        potential(world, x[:2], 4, Probing(signs))
