"""Descents to the best q: fresh draws come close, fixed ones end at the closed form."""

import math

import pytest
import torch
from linear_vae import F64, OPERATORS, H, K, LinearVAE, W, cubature, draw, exactly

from course_lib.inference.vble import VBLE, StochasticAdam
from course_lib.inference.vble.descent import with_fixed_draws, with_fresh_draws
from course_lib.inference.vble.objective import Objective
from course_lib.rng import generator_from
from course_lib.solvers import LBFGS

BLUR = OPERATORS["blur"]
each_operator = pytest.mark.parametrize("op", OPERATORS.values(), ids=OPERATORS)


@pytest.mark.slow
@each_operator
@pytest.mark.parametrize("nu", [True, False])
def test_linear_gaussian_closed_form(op, nu):
    """With a quadratic objective and exact means, L-BFGS ends at the closed form, to 1e-6."""
    vae, y = LinearVAE(), 2 * draw(3, 1, H, W, seed=7)
    found = VBLE(vae, nu=nu).fit(
        op, y, optimiser=exactly(2000), z_init=draw(3, K, seed=8), eps=cubature(3, "z", "x")
    )
    reference, flat, q = vae.reference(op), y.flatten(1), found.parameters
    # Fixed nu = 0: the closed form has z_bar for a Dirac image, and so it is here: b does not
    # enter the data fidelity of the mean.
    best = reference.mean_field(flat, nu=nu)
    close = {"rtol": 0, "atol": 1e-6}
    torch.testing.assert_close(q["m"], best.z_bar, **close)
    torch.testing.assert_close(q["log_a"].exp(), best.a.expand(3, -1), **close)
    torch.testing.assert_close(q["log_b"].exp().flatten(1), best.b.expand(3, -1), **close)
    if nu:
        torch.testing.assert_close(q["nu"].flatten(1), best.nu, **close)
        exact = reference.posterior(flat).x.mean
        torch.testing.assert_close(found.decoded.flatten(1), exact, **close)
    assert found.status == "converged"


@pytest.mark.slow
def test_adam_comes_close_to_the_closed_form():
    vae, y = LinearVAE(), draw(2, 1, H, W, seed=7)
    found = VBLE(vae).fit(
        BLUR,
        y,
        optimiser=StochasticAdam(3000, 0.05, n_draws=64),
        z_init=torch.zeros(2, K, dtype=F64),
        generator=generator_from(0),
    )
    best, q = vae.reference(BLUR).mean_field(y.flatten(1)), found.parameters
    # What is left is the noise of 64 draws a step, averaged over the last steps: 8 draws leave
    # errors of 4% in a, so these leave 1.4%.
    torch.testing.assert_close(q["log_a"].exp(), best.a.expand(2, -1), rtol=2e-2, atol=0)
    b = q["log_b"].exp().flatten(1)
    torch.testing.assert_close(b, best.b.expand(2, -1), rtol=2e-2, atol=0)
    exact = vae.reference(BLUR).posterior(y.flatten(1)).x
    error = (found.decoded.flatten(1) - exact.mean) / exact.covariance.diagonal().sqrt()
    assert error.abs().max() < 0.1


@pytest.mark.parametrize("optimiser", [StochasticAdam(20), exactly(20)], ids=["fresh", "fixed"])
def test_images_do_not_know_each_other(optimiser):
    vae, y = LinearVAE(bend=0.1), draw(3, 1, H, W, seed=7)
    z, eps = draw(3, K, seed=8), {"z": draw(2, 3, K, seed=5), "x": draw(2, 3, 1, H, W, seed=6)}

    def fit(rows):
        some = {name: e[:, rows] for name, e in eps.items()}
        return VBLE(vae).fit(BLUR, y[rows], optimiser=optimiser, z_init=z[rows], eps=some)

    together, alone = (fit(rows).parameters for rows in (slice(None), slice(1, 2)))
    for name, part in together.items():
        torch.testing.assert_close(part[1:2], alone[name], rtol=0, atol=1e-8)


def test_the_first_step_of_adam_has_its_length():
    """Adam's first step is the step size in every number: nu moves by noise_std times that."""
    vae, y, z = LinearVAE(bend=0.1), draw(2, 1, H, W, seed=7), draw(2, K, seed=8)
    vae.noise_std = 0.2
    optimiser = StochasticAdam(n_steps=1, step_size=0.03, clip_norm=1e9)
    q = (
        VBLE(vae)
        .fit(BLUR, y, optimiser=optimiser, z_init=z, generator=generator_from(0))
        .parameters
    )
    moves = {"m": q["m"] - z, "log_a": q["log_a"] + 3, "log_b": q["log_b"], "nu": q["nu"] / 0.2}
    for move in moves.values():
        torch.testing.assert_close(move.abs(), torch.full_like(move, 0.03), rtol=1e-4, atol=0)


def test_long_gradients_are_shortened_for_each_image():
    """Adam's second moment remembers the norm: a first step with clip 1e-9 is below eps = 1e-8."""
    y, z = draw(2, 1, H, W, seed=7), draw(2, K, seed=8)
    optimiser = StochasticAdam(n_steps=1, step_size=0.03, clip_norm=1e-10)
    found = VBLE(LinearVAE()).fit(
        BLUR, y, optimiser=optimiser, z_init=z, generator=generator_from(0)
    )
    total = sum(
        (part - start).square().flatten(1).sum(1)
        for part, start in zip(
            (found.parameters["m"], found.parameters["log_a"]), (z, -3.0), strict=True
        )
    )
    assert (total.sqrt() < 0.03 * 2e-9 / 1e-8).all()  # |g| <= 20 * 1e-10 in 0.03 g / (|g| + 1e-8)


def test_the_clipped_gradient_has_the_norm_asked_for_per_measured_number():
    """Adam's first step is step_size r with r = |g| / (|g| + 1e-8), which tells the gradient g."""
    y, z, clip = draw(2, 1, H, W, seed=7), draw(2, K, seed=8), 1e-8
    optimiser = StochasticAdam(n_steps=1, step_size=0.03, clip_norm=clip)
    fit = VBLE(LinearVAE()).fit
    found = fit(BLUR, y, optimiser=optimiser, z_init=z, generator=generator_from(0))
    unit = float(found.model.noise_std) if hasattr(found.model, "noise_std") else 1.0
    start = {"m": z, "log_a": -3.0, "log_b": 0.0, "nu": 0.0}
    squares = torch.zeros(2, dtype=F64)
    for name, part in found.parameters.items():
        r = (part - start[name]).abs() / (0.03 * (unit if name == "nu" else 1.0))
        squares += (1e-8 * r / (1 - r)).square().flatten(1).sum(1)
    torch.testing.assert_close(squares.sqrt(), torch.full_like(squares, clip * H * W))


class Bowl(Objective):
    """sum of (m - e)^4 + nu^4 + cosh(log b), another curve for each part, for draws e of m."""

    n_measured = 2

    def __init__(self):
        pass

    def __call__(self, free, eps):
        distance = (free["m"] - eps["z"]).mean(0) if eps["z"].ndim > 2 else free["m"] - eps["z"]
        return 3 + (distance**4).sum(1) + (free["nu"] ** 4).sum(1) + free["log_b"].cosh().sum(1)

    def of(self, rows):
        return self


def test_history_of_fresh_draws_is_the_objective_before_each_step():
    """The descent is Adam's of torch, with a cosine for the rate and its own unit for nu."""
    start = {name: draw(2, 3, seed=k) for k, name in enumerate(("m", "nu", "log_b"))}
    draws, f = [{"z": draw(2, 3, seed=10 + k)} for k in range(7)], Bowl()
    waiting = iter(draws)
    end, status, history = with_fresh_draws(
        f, start, lambda: next(waiting), StochasticAdam(7, 0.2, clip_norm=1e9), nu_unit=0.1
    )
    free = {name: part.clone().requires_grad_() for name, part in start.items()}
    groups = [{"params": [v], "lr": 0.2 * (0.1 if k == "nu" else 1)} for k, v in free.items()]
    adam, rows = torch.optim.Adam(groups), []
    rates = [group["lr"] for group in groups]
    for k, eps in enumerate(draws):
        for group, rate in zip(adam.param_groups, rates, strict=True):
            group["lr"] = rate * (1 + math.cos(math.pi * k / 7)) / 2
        value = f(free, eps)
        rows.append(value.detach())
        adam.zero_grad()
        value.sum().backward()
        adam.step()
    assert status == "max_iter"
    torch.testing.assert_close(history["objective"], torch.stack(rows), rtol=1e-12, atol=0)
    for name, part in free.items():
        torch.testing.assert_close(end[name], part.detach(), rtol=1e-12, atol=1e-12)


def test_history_of_fixed_draws_is_the_objective_of_each_point():
    """L-BFGS never goes up, so a run of k steps ends at its best point."""
    start = {name: draw(2, 3, seed=k) for k, name in enumerate(("m", "nu", "log_b"))}
    eps, f = {"z": draw(1, 2, 3, seed=9)}, Bowl()

    def run(k):
        return with_fixed_draws(f, start, eps, LBFGS(k, rtol=0.0))

    history = run(6)[2]["objective"]
    expected = torch.stack([f(start, eps), *(f(run(k)[0], eps) for k in range(1, 7))])
    torch.testing.assert_close(history, expected, rtol=1e-13, atol=0)


def test_steps_have_the_units_of_their_numbers():
    """Number by number, as for the parameter in that unit: Adam's first step is the step size."""
    start = {"m": draw(2, 3), "nu": draw(2, 3, seed=1), "log_b": draw(2, 3, seed=2)}
    units = {"m": torch.tensor([0.1, 1.0, 7.0], dtype=F64).expand(2, -1)}
    eps = {"z": draw(2, 3, seed=9)}
    end, *_ = with_fresh_draws(
        Bowl(), start, lambda: eps, StochasticAdam(1, 0.01, clip_norm=1e9), 0.5, units
    )
    for name, unit in (units | {"nu": 0.5, "log_b": 1.0}).items():
        moved = (end[name] - start[name]).abs()
        # Adam divides by |g| + 1e-8; the least |g| here is about 1e-3.
        torch.testing.assert_close(moved, 0.01 * unit + 0 * moved, rtol=1e-4, atol=0)


def test_short_gradients_are_left_alone():
    y, z = draw(2, 1, H, W, seed=7), draw(2, K, seed=8)
    found = [
        VBLE(LinearVAE()).fit(
            BLUR,
            y,
            optimiser=StochasticAdam(n_steps=5, clip_norm=clip),
            z_init=z,
            generator=generator_from(0),
        )
        for clip in (1e9, float("inf"))
    ]
    for name, part in found[0].parameters.items():
        assert part.isfinite().all()
        assert torch.equal(part, found[1].parameters[name])


@pytest.mark.parametrize(
    "option", [{"n_steps": 0}, {"n_draws": 0}, {"step_size": 0.0}, {"clip_norm": float("nan")}]
)
def test_options_out_of_range_are_refused(option):
    with pytest.raises(ValueError, match="expected n_steps >= 1, n_draws >= 1, step_size > 0 and"):
        StochasticAdam(**option)
