"""The objective in the linear-Gaussian case in closed form, its limits, and its gradient."""

import math

import pytest
import torch
from linear_vae import F64, OPERATORS, SIGMA, H, K, LinearVAE, N, W, cubature, draw, value_of

from course_lib.inference.latent import LatentEnergy
from course_lib.inference.vble.factors import GaussianPosterior
from course_lib.inference.vble.objective import Objective, negative_elbo
from course_lib.operators import GaussianNoise

SIZES = {"m": (K,), "log_a": (K,), "nu": (1, H, W), "log_b": (1, H, W)}
BLUR, Y = OPERATORS["blur"], draw(2, 1, H, W, seed=7)
each_operator = pytest.mark.parametrize("op", OPERATORS.values(), ids=OPERATORS)


def parameters(*names, batch=2):
    """Some q, m not small and the others of order 0.3."""
    return {name: 0.3 * draw(batch, *SIZES[name], seed=k) for k, name in enumerate(names)}


@each_operator
def test_it_is_minus_the_elbo(op):
    """For any q, not only the best one; and minus it stays below log p(y)."""
    vae, q = LinearVAE(), parameters(*SIZES)
    q["log_a"], q["log_b"] = q["log_a"][:1].expand(2, -1), q["log_b"][:1].expand(2, -1, -1, -1)
    value = value_of(q, vae, op, Y, cubature(2, "z", "x"))
    reference, flat = vae.reference(op), Y.flatten(1)
    like = reference.mean_field(flat)._replace(
        z_bar=q["m"],
        a=q["log_a"][0].exp(),
        nu=q["nu"].flatten(1),
        b=q["log_b"][0].exp().flatten(),
    )
    # Sums of some hundred terms of order 1: 1e-10 is generous against rounding.
    torch.testing.assert_close(value, -reference.elbo(flat, like), rtol=1e-10, atol=1e-10)
    assert (value > -reference.log_evidence(flat)).all()


def test_map_z_is_that_of_the_latent_energy():
    """-log p(z | y) up to the constants of the two densities."""
    vae, q = LinearVAE(bend=0.2), {"m": draw(2, K, seed=8)}
    constant = N * math.log(SIGMA * math.sqrt(2 * math.pi))
    energy = LatentEnergy(vae, BLUR, Y, SIGMA)(q["m"])
    torch.testing.assert_close(value_of(q, vae, BLUR, Y, {}), energy + constant)


def test_several_draws_are_averaged():
    """K draws at once are the mean of K calls, image by image."""
    vae, q = LinearVAE(bend=0.2), parameters(*SIZES)
    eps = {"z": draw(3, 2, K, seed=5), "x": draw(3, 2, 1, H, W, seed=6)}
    posterior, noise = GaussianPosterior.of(q), GaussianNoise(SIGMA)
    each = []
    for k in range(3):
        one = {name: e[k] for name, e in eps.items()}
        each.append(negative_elbo(posterior, vae, BLUR, Y, noise, one))
    torch.testing.assert_close(value_of(q, vae, BLUR, Y, eps), torch.stack(each).mean(0))


def test_some_of_the_images():
    vae, q, eps = LinearVAE(bend=0.2), parameters("m", "log_b"), cubature(2, "x")
    f, rows = Objective(vae, BLUR, Y, BLUR.noise_model), torch.tensor([1])
    some = f.of(rows)({k: v[rows] for k, v in q.items()}, {k: e[:, rows] for k, e in eps.items()})
    torch.testing.assert_close(some, f(q, eps)[rows])


@pytest.mark.parametrize(
    "names",
    [("m",), ("m", "log_a"), ("m", "log_b"), ("m", "log_a", "log_b"), tuple(SIZES)],
    ids=["MAP-z", "VBLE-z", "VBLE-x", "VBLE-xz (nu = 0)", "VBLE-xz"],
)
def test_gradient_by_finite_differences(names):
    vae, q = LinearVAE(bend=0.1), parameters(*names)
    eps = {"z": draw(2, 2, K, seed=5), "x": draw(2, 2, 1, H, W, seed=6)}

    def value(q):
        return value_of(q, vae, BLUR, Y, eps).sum()

    free = {name: part.requires_grad_() for name, part in q.items()}
    grads = dict(zip(names, torch.autograd.grad(value(free), list(free.values())), strict=True))
    for k, name in enumerate(names):
        direction, h = draw(*q[name].shape, seed=20 + k), 1e-5
        up, down = (q | {name: (q[name] + s * h * direction).detach()} for s in (1, -1))
        slope = (value(up) - value(down)) / (2 * h)
        # Central differences: h^2 times a third derivative, 1e-10 of values below 1e4.
        torch.testing.assert_close((grads[name] * direction).sum(), slope, rtol=1e-6, atol=1e-5)


def test_a_narrow_image_factor_is_that_of_a_point():
    """nu = 0 and b -> 0: the same draws as VBLE-z, and the same objective but for -log b."""
    vae, q = LinearVAE(), parameters("m", "log_a")
    eps = {"z": draw(3, 2, K, seed=5), "x": draw(3, 2, 1, H, W, seed=6)}
    narrow = q | {"log_b": torch.full((2, 1, H, W), math.log(1e-9), dtype=F64)}
    dropped = N * 0.5 * (1e-18 - 1 - 2 * math.log(1e-9))
    wide, point = (value_of(some, vae, BLUR, Y, eps) for some in (narrow, q))
    torch.testing.assert_close(wide, point + dropped, rtol=1e-6, atol=1e-6)
