"""Variational Bayes with a prior of two levels, p(h) p(z | h), against dense Gaussians."""

import math

import pytest
import torch
from hyperprior_world import K_H, HyperVAE, best_mean_field
from linear_vae import F64, OPERATORS, H, K, W, draw, exactly, value_of
from torch.distributions import Normal, kl_divergence

from course_lib.inference.vble import VBLE, StochasticAdam
from course_lib.inference.vble.factors import Placed, draw_eps
from course_lib.rng import generator_from

Y = 2 * draw(3, 1, H, W, seed=7)
M, LOG_A = draw(2, K, seed=1), 0.5 * draw(2, K, seed=2)
each_operator = pytest.mark.parametrize("op", OPERATORS.values(), ids=OPERATORS)


def cubature(batch):
    """Points +-sqrt(n) e_i of (h, z, x): exact means of polynomials of degree 3."""
    sizes = {"h": (K_H,), "z": (K,), "x": (1, H, W)}
    lengths = [math.prod(size) for size in sizes.values()]
    points = math.sqrt(sum(lengths)) * torch.eye(sum(lengths), dtype=F64)
    parts = torch.cat([points, -points]).split(lengths, dim=1)
    return {
        name: part[:, None].expand(-1, batch, -1).unflatten(2, size)
        for (name, size), part in zip(sizes.items(), parts, strict=True)
    }


def test_divergence_of_a_placed_gaussian_is_that_of_torch():
    p = Normal(draw(2, K, seed=3), draw(2, K, seed=4).exp())
    q = Placed(M, LOG_A)
    exact = kl_divergence(Normal(M, LOG_A.exp()), p).sum(1)
    torch.testing.assert_close(q.kl(p), exact, rtol=1e-12, atol=0)
    eps = draw(2, K, seed=5)
    torch.testing.assert_close(q.draw(p, eps), M + LOG_A.exp() * eps)


def test_a_placed_point_pays_its_log_density():
    """Up to a constant that no parameter and no h changes: log sigma is not one."""
    p = Normal(draw(2, K, seed=3), draw(2, K, seed=4).exp())
    q, constant = Placed(M, None), 0.5 * K * math.log(2 * math.pi)
    torch.testing.assert_close(q.kl(p), -p.log_prob(M).sum(1) - constant, rtol=1e-12, atol=1e-12)
    assert q.draw(p, None) is M


@pytest.mark.slow
@each_operator
def test_linear_gaussian_closed_form(op):
    """With a quadratic objective and exact means, L-BFGS ends at the closed form, to 1e-6."""
    vae = HyperVAE()
    found = VBLE(vae).fit(
        op, Y, optimiser=exactly(3000), z_init=draw(3, K, seed=8), eps=cubature(3)
    )
    best, q = best_mean_field(vae, op, Y), found.parameters
    close = {"rtol": 0, "atol": 1e-6}
    torch.testing.assert_close(q["m_h"], best.m_h, **close)
    torch.testing.assert_close(q["m"], best.m, **close)
    torch.testing.assert_close(q["log_a_h"].exp(), best.a_h.expand(3, -1), **close)
    torch.testing.assert_close(q["log_a"].exp(), best.a.expand(3, -1), **close)
    torch.testing.assert_close(q["log_b"].exp().flatten(1), best.b.expand(3, -1), **close)
    torch.testing.assert_close(found.decoded.flatten(1), best.x, **close)
    value = found.history["objective"][-1]
    # Sums of some fifty terms below 100 at a minimum: second order in the 1e-6 above.
    torch.testing.assert_close(value, -best.elbo, rtol=1e-9, atol=1e-9)


def test_map_is_the_joint_mode():
    """Without scales: the maximum of p(h) p(z | h) p(y | z), here a solvable least squares."""
    vae, op = HyperVAE(), OPERATORS["denoising"]
    found = VBLE.variant("MAP-z", vae).fit(
        op, Y, optimiser=exactly(2000), z_init=draw(3, K, seed=8)
    )
    sigma, s = vae.log_sigma.exp(), op.noise_model.sigma
    covariance = vae.U @ vae.U.T + torch.diag(sigma**2)
    precision = torch.linalg.inv(covariance) + vae.V.T @ vae.V / s**2
    right = torch.linalg.solve(covariance, vae.d) + (Y.flatten(1) - vae.c) @ vae.V / s**2
    z = torch.linalg.solve(precision, right.T).T
    h = (z - vae.d) @ torch.linalg.solve(covariance, vae.U)  # E[h | z], the mode given z
    assert set(found.parameters) == {"m", "m_h"}
    torch.testing.assert_close(found.parameters["m"], z, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.parameters["m_h"], h, rtol=0, atol=1e-6)


def test_gradient_by_finite_differences():
    """A scale that moves with h, where nothing has a closed form."""
    vae, op = HyperVAE(bend=0.4), OPERATORS["blur"]
    sizes = {"m": (K,), "log_a": (K,), "m_h": (K_H,), "log_a_h": (K_H,), "nu": (1, H, W)}
    q = {name: 0.3 * draw(3, *size, seed=k) for k, (name, size) in enumerate(sizes.items())}
    eps = draw_eps(q, 2, generator_from(3))
    free = {name: part.requires_grad_() for name, part in q.items()}
    grads = torch.autograd.grad(value_of(free, vae, op, Y, eps).sum(), list(free.values()))
    for k, (name, grad) in enumerate(zip(sizes, grads, strict=True)):
        direction, step = draw(*q[name].shape, seed=20 + k), 1e-5
        up, down = (
            value_of(q | {name: (q[name] + sign * step * direction).detach()}, vae, op, Y, eps)
            for sign in (1, -1)
        )
        slope = (up - down).sum() / (2 * step)
        # Central differences: step^2 times a third derivative, 1e-10 of values below 1e4.
        torch.testing.assert_close((grad * direction).sum(), slope, rtol=1e-6, atol=1e-5)


def test_draws_of_the_image_do_not_need_h():
    """q(z) is independent of q(h): the eps of h change nothing but the objective."""
    found = VBLE(HyperVAE()).fit(
        OPERATORS["blur"],
        Y,
        optimiser=StochasticAdam(3),
        z_init=draw(3, K, seed=8),
        generator=generator_from(0),
    )
    assert set(found.parameters) == {"m", "log_a", "m_h", "log_a_h", "nu", "log_b"}
    eps = draw_eps(found.parameters, 1, generator_from(1))
    assert list(eps) == ["h", "z", "x"]
    assert eps["h"].shape == (1, 3, K_H)
    drawn = found.sample(1, generator_from(1))[0].flatten(1)
    q = found.parameters
    z = q["m"] + q["log_a"].exp() * eps["z"][0]
    given_z = HyperVAE().decode(z)
    noise = given_z.precision_cholesky.solve_t(q["log_b"].exp() * eps["x"][0])
    expected = (given_z.mean + q["nu"] + noise).flatten(1)
    torch.testing.assert_close(drawn, expected, rtol=1e-12, atol=1e-12)


def test_it_starts_from_the_encoder_of_h():
    """After a step too small to see: q(h) is what `encode_hyper` says of m."""
    z, tiny = draw(3, K, seed=8), StochasticAdam(1, step_size=1e-12)
    found = VBLE(HyperVAE()).fit(
        OPERATORS["blur"], Y, optimiser=tiny, z_init=z, generator=generator_from(0)
    )
    start = HyperVAE().encode_hyper(z)
    torch.testing.assert_close(found.parameters["m_h"], start.mean, rtol=0, atol=1e-10)
    log_std = start.stddev.log()
    torch.testing.assert_close(found.parameters["log_a_h"], log_std, rtol=0, atol=1e-10)
