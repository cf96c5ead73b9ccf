"""Laws of pixels: probabilities that sum to one, means and draws that agree with them."""

import pytest
import torch

from course_lib.models.likelihoods import DiscretisedLogistics, GaussianHead, LogisticsHead
from course_lib.rng import generator_from


def levels(bits):
    return torch.arange(2**bits, dtype=torch.float64) / (2**bits - 1)


@pytest.mark.parametrize("bits", [1, 5, 8])
def test_probabilities_sum_to_one_for_any_parameters(bits, generator):
    """In each pixel, over all levels; also where a scale is at its bound or a mean far outside."""
    out = 4 * torch.randn(1, 12, 3, 5, generator=generator, dtype=torch.float64)
    law = DiscretisedLogistics(out, 1, bits=bits)
    log_p = torch.cat([law.log_prob(level.expand(1, 1, 3, 5)) for level in levels(bits)])
    # A sum of 256 terms, each with a few roundings.
    assert torch.allclose(log_p.exp().sum(0), torch.ones(1, 3, 5).double(), atol=1e-12, rtol=0)


def test_probabilities_of_colours_sum_to_one(generator):
    out = torch.randn(1, 20, 1, 1, generator=generator, dtype=torch.float64)
    law = DiscretisedLogistics(out, 3, bits=2)
    grid = torch.cartesian_prod(*[levels(2)] * 3)[..., None, None]
    total = sum(law.log_prob(colour[None]).exp() for colour in grid)
    assert torch.allclose(total, torch.ones(1, 1, 1, 1).double(), atol=1e-12, rtol=0)


def test_an_improbable_level_has_a_finite_logarithm_and_gradient():
    """Far out in a tail both ends of the bin have the same sigmoid in floating point."""
    out = torch.tensor([0.0, 0.9, -7.0, 0.0]).view(1, 4, 1, 1).requires_grad_()
    log_p = DiscretisedLogistics(out, 1).log_prob(torch.full((1, 1, 1, 1), 0.2))
    log_p.sum().backward()
    assert torch.isfinite(log_p).all()
    assert torch.isfinite(out.grad).all()


def test_draws_have_the_probabilities_of_their_levels(generator):
    """Two channels of a colour and their dependence: frequencies of 8 levels out of 200,000."""
    parameters = torch.randn(1, 20, 1, 1, generator=generator, dtype=torch.float64)
    parameters[:, [5, 6, 11, 12, 17, 18]] -= 1.0
    n = 200_000
    law = DiscretisedLogistics(parameters.expand(n, -1, -1, -1), 3, bits=1)
    drawn = law.sample_with(generator_from(1)).flatten(1)
    one = DiscretisedLogistics(parameters, 3, bits=1)
    for colour in torch.cartesian_prod(*[levels(1)] * 3):
        frequency = (drawn == colour).all(1).double().mean()
        p = one.log_prob(colour[None, :, None, None]).exp().item()
        # Draws shift by the cut value of a channel, the law by its level: the same with 8 bits,
        # nearly the same with sharp components of 1 bit.
        assert abs(frequency - p) < 0.05


def test_components_are_drawn_with_their_weights(generator):
    """Three components too narrow to be confused; frequencies within 5 standard errors."""
    n, weights = 50_000, torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    means = torch.tensor([-0.8, 0.0, 0.8], dtype=torch.float64)
    out = torch.cat([weights.log(), means, torch.full((3,), -6.0), torch.zeros(3)])
    law = DiscretisedLogistics(out.double().view(1, 12, 1, 1).expand(n, -1, -1, -1), 1)
    drawn = 2 * law.sample_with(generator).flatten() - 1
    found = ((drawn[:, None] - means).abs() < 0.2).double().mean(0)
    assert ((found - weights).abs() < 5 * (weights * (1 - weights) / n).sqrt()).all()


def test_mean_is_that_of_many_draws(generator):
    parameters = torch.tensor([0.3, -0.3, -0.2, 0.3, -3.0, -3.0, 0.0, 0.0], dtype=torch.float64)
    out = parameters.view(1, 8, 1, 1).expand(100_000, -1, -1, -1)
    law = DiscretisedLogistics(out, 1)
    drawn = law.sample_with(generator)
    assert (drawn.mean() - law.mean[0]).abs() < 4 * drawn.std() / 100_000**0.5


def test_the_gaussian_head_keeps_its_scale_to_itself(generator):
    """The likelihood of the residual sends no gradient into the features through the scale."""
    torch.manual_seed(0)
    features = torch.randn(1, 8, 4, 4, generator=generator, requires_grad=True)
    GaussianHead(8, 1)(features).stddev.sum().backward()
    assert features.grad is None


@pytest.mark.parametrize("channels", [1, 3])
def test_heads_have_the_shape_of_images(channels, generator):
    torch.manual_seed(0)
    features = torch.randn(2, 8, 4, 6, generator=generator)
    for head in (GaussianHead(8, channels), LogisticsHead(8, channels)):
        assert head(features).mean.shape == (2, channels, 4, 6)


def test_a_component_is_a_chain_of_logistics(generator):
    """One component: in each channel the logistic of the bin, its mean shifted by those before.

    Coefficient 0 belongs to the channels (1, 0), 1 to (2, 0) and 2 to (2, 1).
    """
    out = torch.randn(1, 10, 1, 1, generator=generator, dtype=torch.float64)
    mean, log_scale, free = out[0, 1:, 0, 0].view(3, 3).unbind(1)
    coefficient = free.tanh()  # the one of channel c sits in its own row
    bits, k = 4, torch.tensor([3, 7, 12])
    value = k.double() / 15
    x = 2 * value - 1
    means = [
        mean[0],
        mean[1] + coefficient[0] * x[0],
        mean[2] + coefficient[1] * x[0] + coefficient[2] * x[1],
    ]
    expected = 0.0
    for c in range(3):
        upper = ((x[c] + 1 / 15 - means[c]) / log_scale[c].exp()).sigmoid()
        lower = ((x[c] - 1 / 15 - means[c]) / log_scale[c].exp()).sigmoid()
        expected = expected + (upper - lower).log()
    found = DiscretisedLogistics(out, 3, bits=bits).log_prob(value.view(1, 3, 1, 1))
    torch.testing.assert_close(found[0, 0, 0, 0], expected, rtol=1e-10, atol=0)


def test_the_gaussian_head_is_at_least_half_a_grey_level_wide():
    head = GaussianHead(4, 1)
    head.scale[-1].weight.data.zero_()
    head.scale[-1].bias.data.fill_(-50.0)
    std = head(torch.zeros(1, 4, 2, 2)).stddev
    torch.testing.assert_close(std, torch.full_like(std, 0.5 / 255))
