"""The two objectives of super-resolution are a likelihood and a mean square error."""

import math

import pytest
import torch
from helpers import moved_by_one_step
from torch.distributions import Normal
from torch.nn.functional import mse_loss

from course_lib.models import SRResNet, SuperResolutionFlow
from course_lib.models.flow import LOW_STD
from course_lib.operators import bicubic_downsampling
from course_lib.rng import generator_from
from course_lib.training.recipes.super_resolution import (
    WIDE_STD,
    NegativeLogLikelihood,
    SquaredError,
    gaussian_nats,
    low_std,
    rows,
)


def sensor(factor: int, x: torch.Tensor):
    return bicubic_downsampling(tuple(x.shape[1:]), factor)


def images(n: int) -> torch.Tensor:
    return torch.rand(n, 1, 16, 16, generator=generator_from(0))


def small_flow() -> SuperResolutionFlow:
    torch.manual_seed(0)
    return SuperResolutionFlow(steps=(1, 2), lifting=1, features=4, blocks=1, hidden=4)


@pytest.mark.parametrize(("done", "std"), [(0.0, WIDE_STD), (0.25, low_std(0.25)), (0.75, LOW_STD)])
def test_loss_of_a_flow_is_its_likelihood(done, std):
    """The mean over factors of -log p(x | y) / n, with the width of its low-resolution term."""
    model, x = small_flow(), images(5)
    objective = NegativeLogLikelihood(model, x)
    loss, figures = objective.loss("model", x, done=done, generator=generator_from(3))
    between = x + (torch.rand(x.shape, generator=generator_from(3)) - 0.5) / 255
    nats, errors = [], []
    for factor in model.factors:
        y = sensor(factor, x).A(x)
        low = model.encode(between, factor)[0]
        likelihood = Normal(y, LOW_STD).log_prob(low), Normal(y, std).log_prob(low)
        change = (likelihood[1] - likelihood[0]).flatten(1).sum(1)
        nats.append(-(model.log_prob(between, y) + change).mean())
        errors.append((low - y).square().mean())
    # The Gaussian term, of size 1e3, is a mean of squares here and a sum there: float32.
    torch.testing.assert_close(loss, torch.stack(nats).mean() / 256, rtol=1e-5, atol=1e-5)
    expected = torch.stack(errors).sqrt().mean()
    torch.testing.assert_close(figures["low_rmse"], expected, rtol=1e-5, atol=0)


def test_one_step_moves_the_networks(tmp_path):
    """Of the flow the layers next to its output: the couplings begin as identities."""
    x, flow, network = images(4), small_flow(), SRResNet(factor=4, channels=4, blocks=1)
    moved = moved_by_one_step(NegativeLogLikelihood(flow, x), x, tmp_path / "flow")
    for level in range(len(flow.levels)):
        assert {f"levels.{level}.norm.shift", f"levels.{level}.base.weight"} <= moved
    moved = moved_by_one_step(SquaredError(network, x), x, tmp_path / "network")
    assert moved >= {name for name, _ in network.named_parameters()}


def test_width_of_the_low_resolution_term():
    """Geometric from wide to narrow over the first half, then the model's."""
    assert low_std(0.0) == pytest.approx(WIDE_STD)
    assert low_std(0.25) == pytest.approx(math.sqrt(WIDE_STD * LOW_STD))
    assert low_std(0.5) == low_std(0.99) == pytest.approx(LOW_STD)


def test_nats_of_a_gaussian():
    error = torch.tensor(0.03)
    expected = -Normal(0.0, 0.02).log_prob(error)
    torch.testing.assert_close(gaussian_nats(error.square(), 0.02), expected)


def test_loss_of_a_regression_is_its_error():
    model = SRResNet(factor=4, channels=4, blocks=1).eval()
    x = images(3)
    loss, figures = SquaredError(model, x).loss("model", x, done=0.0, generator=generator_from(0))
    torch.testing.assert_close(loss, mse_loss(model(sensor(4, x).A(x)), x))
    assert figures["mse"] == loss


def test_contact_sheet():
    """Eight images, then for each factor what is measured, as large pixels, and the answers."""
    x = images(9)
    sheet = rows(x, (2, 4), lambda y, factor: torch.full((8, 1, 16, 16), float(factor)))
    assert sheet.shape == (40, 1, 16, 16)
    assert torch.equal(sheet[:8], x[:8])
    torch.testing.assert_close(sheet[24:32, :, ::4, ::4], sensor(4, x).A(x[:8]))
    assert (sheet[32:] == 4).all()
