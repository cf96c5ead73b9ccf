"""Features of images are compared as far as a measurement tells, and the slope is exact."""

import pytest
import torch
from gan_world import OPERATORS, gan_for, measurements
from torch.autograd import grad

from course_lib.exact import matrix_of
from course_lib.inference.latent.feature_distance import FeatureDistance
from course_lib.rng import generator_from


@pytest.fixture(params=OPERATORS)
def op(request):
    return OPERATORS[request.param]


def test_features_agree_where_the_measurements_do(op):
    """Also where the images differ: a part that A does not see changes nothing."""
    x = torch.rand(2, *op.img_size, generator=generator_from(7), dtype=torch.float64)
    distance = FeatureDistance(gan_for(op).discriminator, op, op.A(x))
    assert (distance(x) == 0).all()
    other = torch.rand(x.shape, generator=generator_from(8), dtype=torch.float64)
    unseen = other - op.A_dagger(op.A(other))
    assert (distance(x + unseen) <= 1e-12).all()  # A unseen is rounding
    assert (distance(other) > 1e-3).all()


def test_gradient_of_the_features_against_finite_differences(op):
    y = measurements(op, 2)
    distance = FeatureDistance(gan_for(op).discriminator, op, y, sigma=0.05)
    x = torch.rand(2, *op.img_size, generator=generator_from(7), dtype=torch.float64)
    value = distance(x.requires_grad_())
    (slope_of,) = grad(value.sum(), x)
    x = x.detach()
    step = torch.randn(x.shape, generator=generator_from(8), dtype=torch.float64)
    h = 1e-7
    slope = (distance(x + h * step) - distance(x - h * step)) / (2 * h)
    # piecewise linear but for kinks, of which a step of 1e-7 meets few; 1e-16 / h is 1e-9
    torch.testing.assert_close((slope_of * step).flatten(1).sum(1), slope, rtol=1e-5, atol=1e-8)


def test_table_of_distances(op):
    y = measurements(op)
    distance = FeatureDistance(gan_for(op).discriminator, op, y)
    x = torch.rand(3, *op.img_size, generator=generator_from(7), dtype=torch.float64)
    with torch.no_grad():
        table = distance.table(x)
    torch.testing.assert_close(table.diagonal(), distance(x), rtol=1e-12, atol=0)


def test_seen_image_is_the_posterior_mean(op):
    """argmin_u gamma/2 |A u - y|^2 + 1/2 |u - 1/2|^2 with gamma = 1 / (16 sigma^2), densely."""
    distance = FeatureDistance(gan_for(op).discriminator, op, measurements(op), sigma=0.05)
    A, gamma = matrix_of(op), 1 / (16 * 0.05**2)
    y = measurements(op).flatten(1)
    system = gamma * A.T @ A + torch.eye(A.shape[1]).double()
    exact = torch.linalg.solve(system, (gamma * y @ A + 0.5).T).T
    found = distance.seen.of(measurements(op)).flatten(1)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-10)  # gamma |A|^2 eps


def test_the_last_features_are_compared(op):
    y = measurements(op)
    critic = gan_for(op).discriminator
    distance = FeatureDistance(critic, op, y, n_features=1)
    x = torch.rand(3, *op.img_size, generator=generator_from(7), dtype=torch.float64)
    ours, theirs = (critic.features(distance.seen.of(v))[-1] for v in (op.A(x), y))
    expected = (ours - theirs).abs().flatten(1).mean(1)
    torch.testing.assert_close(distance(x), expected, rtol=1e-12, atol=0)
