"""Half-quadratic splitting with a Gaussian denoiser is linear algebra, done here densely."""

import math

import pytest
import torch

from course_lib.inference.plug_and_play import (
    FallingLevels,
    half_quadratic_splitting,
    matched_to_noise,
    misfit,
)
from course_lib.operators import Blur, Inpainting, PhaseRetrieval, gaussian_kernel
from course_lib.solvers import Solution
from tests.helpers import assert_batch_independent, dense_matrix

SIZE = (1, 4, 5)
N = math.prod(SIZE)
OP = Blur(gaussian_kernel(0.8, 3, torch.float64), SIZE)
SIGMA = 0.1


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


ROOT = draw(N, N, seed=1) / N**0.5
C = ROOT @ ROOT.T + 0.05 * torch.eye(N)  # covariance of the images


def wiener_denoiser(x, sigma):
    """E[x | x + sigma w] for images from N(0, C)."""
    gain = C @ torch.linalg.inv(C + sigma**2 * torch.eye(N))
    return (x.flatten(1) @ gain.T).reshape(x.shape)


def by_matrices(y, weight, levels):
    A, x = dense_matrix(OP.A, SIZE), OP.A_adjoint(y).flatten(1).T
    for s in levels:
        gamma = s**2 / (weight * SIGMA**2)
        u = torch.linalg.solve(gamma * A.T @ A + torch.eye(N), gamma * A.T @ y.flatten(1).T + x)
        x = C @ torch.linalg.solve(C + s**2 * torch.eye(N), u)
    return x.T.reshape(y.shape)


def test_each_step_is_that_of_dense_algebra():
    y = draw(3, *SIZE, seed=2)
    levels = FallingLevels(first=0.5, n=5)
    found = half_quadratic_splitting(OP, y, wiener_denoiser, sigma=SIGMA, weight=0.3, levels=levels)
    expected = by_matrices(y, 0.3, levels.down_to(SIGMA))
    # two solves a step of matrices with condition below 1e4, in double precision
    torch.testing.assert_close(found.x, expected, rtol=0, atol=1e-11)
    residual = (dense_matrix(OP.A, SIZE) @ expected.flatten(1).T - y.flatten(1).T).norm(dim=0)
    torch.testing.assert_close(found.history["misfit"][-1], residual / (SIGMA * N**0.5))
    assert found.history["misfit"].shape == (5, 3)
    assert (found.status, found.iterations) == ("converged", 5)


def test_a_level_that_stays_ends_in_the_minimiser_of_both_copies():
    """min over u, x of f(u) + lam g(x) + lam / (2 s^2) |u - x|^2: one linear system."""
    y, weight, s = draw(2, *SIZE, seed=3), 0.5, 0.3
    levels = FallingLevels(first=s, n=400, least=s)
    x = half_quadratic_splitting(
        OP, y, wiener_denoiser, sigma=SIGMA, weight=weight, levels=levels
    ).x
    A, spring = dense_matrix(OP.A, SIZE), weight / s**2 * torch.eye(N, dtype=torch.float64)
    hessian = torch.cat(
        [
            torch.cat([A.T @ A / SIGMA**2 + spring, -spring], dim=1),
            torch.cat([-spring, weight * torch.linalg.inv(C) + spring], dim=1),
        ]
    )
    b = A.T @ y.flatten(1).T / SIGMA**2
    both = torch.linalg.solve(hessian, torch.cat([b, torch.zeros_like(b)]))
    # the alternation contracts by C / (C + s^2) <= 0.98 a step: 400 steps leave 3e-4 of the start
    torch.testing.assert_close(x, both[N:].T.reshape(y.shape), rtol=0, atol=1e-3)


def test_levels_fall_in_equal_ratios_to_the_noise():
    levels = torch.tensor(FallingLevels(first=0.4, n=5).down_to(0.025), dtype=torch.float64)
    torch.testing.assert_close(levels[1:] / levels[:-1], torch.full((4,), 0.5).double())
    assert levels[-1] == pytest.approx(0.025)
    assert FallingLevels(first=0.1, n=3).down_to(0.3) == pytest.approx([0.3] * 3)
    assert FallingLevels(n=1).down_to(0.02) == pytest.approx([49 / 255])
    assert FallingLevels(n=2).down_to(1e-9)[-1] == pytest.approx(1 / 255)


def test_images_do_not_mix():
    assert_batch_independent(
        lambda y: half_quadratic_splitting(OP, y, wiener_denoiser, sigma=SIGMA).x,
        draw(3, *SIZE, seed=4),
        atol=1e-12,
    )


def test_a_nan_stays_in_its_image():
    def broken(x, sigma):
        x = wiener_denoiser(x, sigma)
        x[1] = torch.nan
        return x

    y = draw(3, *SIZE, seed=5)
    found = half_quadratic_splitting(
        Inpainting(torch.ones(SIZE, dtype=torch.bool)),
        y,
        broken,
        sigma=1.0,
        levels=FallingLevels(n=3),
    )
    assert found.status == "diverged"
    assert found.x[[0, 2]].isfinite().all()


def test_no_graph_is_kept():
    network = torch.nn.Linear(SIZE[2], SIZE[2]).double()
    y = draw(1, *SIZE, seed=6)
    x = half_quadratic_splitting(OP, y, lambda x, _: network(x), sigma=SIGMA).x
    assert not x.requires_grad


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma": 0.0}, "sigma must be a positive number, got 0.0"),
        ({"sigma": math.nan}, "sigma must be a positive number, got nan"),
        ({"weight": -1.0}, "weight must be a positive number, got -1.0"),
        ({"y": draw(2, 1, 4, 4)}, r"expected y of shape \(B, 1, 4, 5\)"),
        ({"x0": draw(2, 1, 4, 4)}, "expected shape"),
    ],
)
def test_refusals(changes, message):
    arguments = {"y": draw(2, *SIZE), "sigma": SIGMA} | changes
    with pytest.raises(ValueError, match=message):
        half_quadratic_splitting(OP, arguments.pop("y"), wiener_denoiser, **arguments)


def test_an_operator_without_adjoint_is_refused():
    op = PhaseRetrieval(8, SIZE, torch.Generator().manual_seed(0), dtype=torch.float64)
    y = op.A(draw(1, *SIZE))
    with pytest.raises(TypeError, match="is not linear"):
        half_quadratic_splitting(op, y, wiener_denoiser, sigma=SIGMA)


@pytest.mark.parametrize("bad", [{"n": 0}, {"first": 0.0}, {"least": 0.0}, {"first": 1e-4}])
def test_levels_that_do_not_fall_are_refused(bad):
    with pytest.raises(ValueError, match="FallingLevels: expected n >= 1 and 0 < least <= first"):
        FallingLevels(**bad)


def test_each_image_gets_the_weight_of_its_own_noise():
    ends = {0.1: [0.5, 0.9, 1.3], 0.2: [0.8, 1.1, 2.0], 0.4: [1.0, 1.4, math.nan]}

    def run(weight):
        x = torch.full((3, *SIZE), weight, dtype=torch.float64)
        return Solution(x, "max_iter", {"misfit": torch.tensor([[9.0] * 3, ends[weight]])}, 2)

    found = matched_to_noise(run, (0.1, 0.2, 0.4), target=1.0)
    assert found.weight.tolist() == pytest.approx([0.4, 0.2, 0.1])  # 0.9 is farther in ratio
    assert found.misfit.tolist() == pytest.approx([1.0, 1.1, 1.3])
    assert found.x[:, 0, 0, 0].tolist() == found.weight.tolist()


def test_of_equal_weights_the_first_one_is_kept():
    def run(weight):
        return Solution(torch.full((2, *SIZE), weight), "max_iter", {"misfit": torch.ones(1, 2)}, 1)

    assert matched_to_noise(run, (0.4, 0.1, 0.2)).weight.tolist() == [0.4, 0.4]


def test_the_rule_refuses_what_it_cannot_use():
    never = dict[float, Solution]().__getitem__
    with pytest.raises(ValueError, match="expected weights and a positive target"):
        matched_to_noise(never, ())
    with pytest.raises(ValueError, match="expected weights and a positive target"):
        matched_to_noise(never, target=0.0)


def test_the_misfit_of_the_truth_is_that_of_its_noise():
    x, noise = draw(4, *SIZE, seed=7), draw(4, *SIZE, seed=8)
    expected = noise.flatten(1).square().mean(1).sqrt()
    torch.testing.assert_close(misfit(OP, x, OP.A(x) + SIGMA * noise, SIGMA), expected)
