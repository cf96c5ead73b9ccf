"""Energies of latents: values and gradients against dense algebra and finite differences."""

import math

import pytest
import torch
from latent_world import (
    IMG,
    MASK,
    NOISE,
    OPERATORS,
    PHASE,
    SIGMA,
    STD,
    Bent,
    K,
    draw,
    exact_vae,
    linear_parts,
    measurements,
)
from torch import nn
from torch.distributions import MultivariateNormal

from course_lib.exact import matrix_of
from course_lib.inference.latent import (
    JointEnergy,
    LatentEnergy,
    MarginalPosterior,
    Pushforward,
    bora_weight,
)
from course_lib.operators import Denoising
from course_lib.rng import generator_from
from course_lib.solvers import gradient_descent


@pytest.mark.parametrize("op", [OPERATORS["sensing"], PHASE], ids=["linear", "nonlinear"])
def test_gradient_against_finite_differences(op):
    z = draw(2, K, seed=8)
    y = op.A(torch.rand(2, *IMG, generator=generator_from(9), dtype=torch.float64))
    f = LatentEnergy(Bent(), op, y, SIGMA, weight=0.7)
    value, grad = f.value_and_grad(z)
    h = 1e-5
    steps = h * torch.eye(K, dtype=torch.float64)
    differences = torch.stack([(f(z + step) - f(z - step)) / (2 * h) for step in steps], dim=1)
    # h^2 f''' + eps f / h: both below 1e-7 of the largest gradient
    torch.testing.assert_close(grad, differences, rtol=0, atol=1e-7 * grad.abs().max().item())
    torch.testing.assert_close(value, f(z), rtol=1e-14, atol=0)
    torch.testing.assert_close(f.value_and_grad(z[1:], torch.tensor([1]))[1], f.grad(z)[1:])


def test_value_is_the_formula(op):
    """|A G(z) - y|^2 / (2 sigma^2) + w / 2 |z|^2, by the dense matrix."""
    y, z = measurements(op), draw(3, K, seed=7)
    residual = Bent()(z).flatten(1) @ matrix_of(op).T - y.flatten(1)
    expected = residual.square().sum(1) / (2 * SIGMA**2) + 0.7 / 2 * z.square().sum(1)
    found = LatentEnergy(Bent(), op, y, SIGMA, weight=0.7)(z)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_solvers_of_images_take_it_too(linear):
    """The Hessian of a linear generator bounds the step of plain gradient descent."""
    op = OPERATORS["blur"]
    y, A = measurements(op), matrix_of(op)
    W, c = linear_parts(linear)
    hessian = (A @ W).T @ (A @ W) / SIGMA**2 + torch.eye(K, dtype=torch.float64)
    f = LatentEnergy(linear, op, y, SIGMA)
    L = torch.linalg.matrix_norm(hessian, 2).item()
    z = gradient_descent(f, torch.zeros(3, K).double(), step_size=1 / L, rtol=1e-12).x
    right = (A @ W).T @ (y.flatten(1) - A @ c).T / SIGMA**2
    torch.testing.assert_close(z, torch.linalg.solve(hessian, right).T, rtol=0, atol=1e-8)


def test_lost_pixels_say_nothing():
    op, z = OPERATORS["inpainting"], draw(3, K, seed=7)
    y = measurements(op)
    f, changed = (LatentEnergy(Bent(), op, v, SIGMA) for v in (y, torch.where(MASK, y, 3.0)))
    torch.testing.assert_close(f.grad(z), changed.grad(z), rtol=0, atol=0)


def test_marginal_posterior_against_the_dense_density(op):
    """Differences of -log N(z; 0, I) N(y; A G(z), sigma^2 I + s^2 A A^T)."""
    y, z = measurements(op), draw(3, K, seed=7)
    f, A = MarginalPosterior(Bent(), op, y, SIGMA, std=STD), matrix_of(op)
    S = SIGMA**2 * torch.eye(len(A)).double() + STD**2 * A @ A.T

    def exact(z):
        evidence = MultivariateNormal(Bent()(z).flatten(1) @ A.T, S)
        return z.square().sum(1) / 2 - evidence.log_prob(y.flatten(1))

    zero = torch.zeros_like(z)
    torch.testing.assert_close(f(z) - f(zero), exact(z) - exact(zero), rtol=1e-9, atol=1e-9)
    z.requires_grad_()
    (gradient,) = torch.autograd.grad(exact(z).sum(), z)
    value, found = f.value_and_grad(z)
    torch.testing.assert_close(found, gradient, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(f.value_and_grad(z[1:], torch.tensor([1, 2]))[0], value[1:])


def test_marginal_posterior_with_little_noise_of_the_decoder(op):
    """std to 0: x = G(z), the model of LatentEnergy; the difference is of order std^2."""
    y, z = measurements(op), draw(3, K, seed=7)
    value, grad = MarginalPosterior(Bent(), op, y, SIGMA, std=1e-5).value_and_grad(z)
    exact_value, exact_grad = LatentEnergy(Bent(), op, y, SIGMA).value_and_grad(z)
    torch.testing.assert_close(value, exact_value, rtol=1e-6, atol=0)
    torch.testing.assert_close(grad, exact_grad, rtol=0, atol=1e-5 * exact_grad.abs().max().item())


def test_joint_energy_is_the_formula(op):
    y, z, x = measurements(op), draw(3, K, seed=7), draw(3, *IMG, seed=8)
    parts = ((op.A(x) - y) / SIGMA, (x - Bent()(z)) / STD, z)
    expected = sum(part.flatten(1).square().sum(1) / 2 for part in parts)
    torch.testing.assert_close(JointEnergy(Bent(), op, y, SIGMA, STD)(x, z), expected)


def test_weight_of_the_published_loss():
    op, model = OPERATORS["sensing"], Bent()
    y, (m, lam) = measurements(op), (8, 0.1)
    z = draw(3, K, seed=18)
    published = (op.A(model(z)) - y).square().mean(1) + lam * z.square().sum(1)
    f = LatentEnergy(model, op, y, SIGMA, bora_weight(lam, m, SIGMA))
    torch.testing.assert_close(f(z) * 2 * SIGMA**2 / m, published, rtol=1e-13, atol=0)
    assert math.isclose(bora_weight(SIGMA**2 / m, m, SIGMA), 1, rel_tol=1e-15)
    assert math.isclose(bora_weight(0.1, 100, 0.1), 1e3, rel_tol=1e-15)  # MNIST, m = 100
    assert math.isclose(bora_weight(0.001, 1000, 0.01), 1e4, rel_tol=1e-15)  # CelebA, m = 1000


def test_parameters_get_no_gradient():
    op, model = OPERATORS["denoising"], Bent()
    LatentEnergy(model, op, measurements(op), SIGMA).grad(draw(3, K, seed=0))
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 0.0}, "LatentEnergy: sigma must be a positive"),
        ({"sigma": math.nan}, "LatentEnergy: sigma must be a positive"),
        ({"weight": -1.0}, "LatentEnergy: weight must be a finite number >= 0, got -1"),
        ({"weight": math.inf}, "LatentEnergy: weight must be a finite number >= 0, got inf"),
        ({"y": torch.zeros(3, 1, 4, 4)}, r"LatentEnergy: expected y of shape \(B, 1, 4, 5\)"),
        ({"model": exact_vae().train()}, r"VAE is in training mode.*Call .eval\(\)"),
        (
            {"model": Pushforward(nn.Sequential(nn.BatchNorm1d(K)), (K,))},
            r"Sequential is in training mode.*Call .eval\(\)",
        ),
    ],
)
def test_refusals(options, message):
    op = OPERATORS["denoising"]
    arguments = {"model": Bent(), "op": op, "y": measurements(op), "sigma": SIGMA} | options
    with pytest.raises(ValueError, match=message):
        LatentEnergy(**arguments)


@pytest.mark.parametrize("std", [0.0, -1.0, math.inf])
def test_refused_deviations(std):
    op = OPERATORS["denoising"]
    with pytest.raises(ValueError, match=r"MarginalPosterior: std must be positive and finite"):
        MarginalPosterior(Bent(), op, measurements(op), SIGMA, std=std)


def test_refused_operators():
    with pytest.raises(TypeError, match="MarginalPosterior: PhaseRetrieval is not linear"):
        MarginalPosterior(Bent(), PHASE, draw(3, 15, seed=0), SIGMA, std=STD)
    small = Denoising((1, 2, 2), NOISE)
    f = LatentEnergy(Bent(), small, torch.zeros(3, 1, 2, 2).double(), SIGMA)
    with pytest.raises(ValueError, match=r"draws images of \(1, 4, 5\).*Give both the same"):
        f(draw(3, K, seed=0))
