"""Descents to the best q: fresh draws come close, fixed ones end at the closed form."""

import pytest
import torch
from linear_vae import F64, OPERATORS, H, K, LinearVAE, W, cubature, draw, exactly

from course_lib.inference.vble import VBLE, StochasticAdam
from course_lib.rng import generator_from

BLUR = OPERATORS["blur"]
each_operator = pytest.mark.parametrize("op", OPERATORS.values(), ids=OPERATORS)


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
