"""Algorithm 1 as printed, against its lines written out with dense automatic differentiation."""

import pytest
import torch
from blind_world import F64, LEVEL, SIGMA, SIZE, WORLD

from course_lib.inference.blind_deconvolution import (
    DenoiserPotential,
    KernelObjective,
    Stage,
    blind_deconvolution,
    on_simplex,
    published_algorithm,
    published_start,
)
from course_lib.operators import Blur


def printed(y, theta, n_outer, n_inner):
    """Its lines for one image; the lengths of the steps are those that the docstring chooses."""
    q, x = DenoiserPotential(WORLD, LEVEL), y
    for n in range(n_outer):
        x = y if n % 100 == 0 else x
        op = Blur(on_simplex(theta), SIZE)
        length = 1 / (op.gain.max() + SIGMA**2 / LEVEL**2)
        for _ in range(n_inner):
            x = x - length * (op.A_adjoint(op.A(x) - y) + SIGMA**2 * q.grad(x))
        theta = theta.detach().requires_grad_()
        fit = (Blur(on_simplex(theta), SIZE).A(x) - y).square().sum() / 2
        (slope,) = torch.autograd.grad(fit, theta)
        curvature = KernelObjective(x, y, tuple(theta.shape[-2:])).lipschitz
        theta = theta.detach() - slope / curvature
    return x, on_simplex(theta)


@pytest.mark.slow
@pytest.mark.parametrize("start", ["flat", "narrow"])
@pytest.mark.parametrize("n_inner", [1, 3])
def test_the_setting_is_algorithm_1(blurred, start, n_inner):
    """104 outer iterations, so that a restart is among them."""
    y, theta = blurred[:1], published_start(start, 5).to(F64)
    found = blind_deconvolution(
        WORLD,
        y,
        5,
        theta,
        sigma=SIGMA,
        stage=Stage(LEVEL, n_outer=104),
        alternation=published_algorithm(n_inner),
    )
    x, kernel = printed(y, theta, 104, n_inner)
    # 104 iterations, each of which rounds at 1e-16 of values below 1 and damps what came before.
    torch.testing.assert_close(found.x, x, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.kernel, kernel, rtol=0, atol=1e-12)
    assert found.evaluations == 104 * n_inner


def test_the_starts_are_the_printed_ones_to_scale():
    assert torch.equal(published_start("flat", 21), torch.full((1, 1, 21, 21), 1 / 441))
    narrow = published_start("narrow", 21)[0, 0].double()
    at = (torch.arange(21) - 10).double()
    drop = at[:, None].square() + at.square()
    expected = (-drop / (2 * 1.5**2)).exp()
    torch.testing.assert_close(narrow, expected / expected.sum(), rtol=0, atol=1e-7)  # float32
    scaled = published_start("narrow", 9)[0, 0].double()
    ratio = (scaled[4, 4] / scaled[4, 5]).log()  # 1 / (2 std^2), of std = 1.5 * 9 / 21
    assert ratio.item() == pytest.approx(1 / (2 * (1.5 * 9 / 21) ** 2), rel=1e-5)
