"""Image and latent together: J falls, and its minimum is known where the generator is affine."""

import math

import pytest
import torch
from helpers import assert_batch_independent
from latent_world import (
    IMG,
    OPERATORS,
    SIGMA,
    STD,
    Bent,
    K,
    N,
    draw,
    exact_vae,
    linear_parts,
    measurements,
    posterior_mean,
)
from torch.distributions import MultivariateNormal

from course_lib.exact import matrix_of
from course_lib.inference.latent import (
    JointEnergy,
    Pushforward,
    Sweeps,
    conditional_mean,
    first_guess,
    map_xz,
)
from course_lib.solvers import LBFGS, Adam


@pytest.mark.slow
@pytest.mark.parametrize("continuation", [0, 10])
def test_map_xz_of_a_linear_vae_is_the_posterior_mean(linear, op, continuation):
    """The maximum of a Gaussian over (x, z) is its mean, whose x is E[x | y]."""
    y, A = measurements(op), matrix_of(op)
    W, c = linear_parts(linear)
    covariance = W @ W.T + STD**2 * torch.eye(N, dtype=torch.float64)
    found = map_xz(linear, op, y, sweeps=Sweeps(400, 1e-9, continuation))
    assert found.status == "converged"
    # Linear convergence at a rate below 0.95 leaves 20 times the last change.
    torch.testing.assert_close(found.x, posterior_mean(A, y, c, covariance), rtol=0, atol=1e-6)
    # min over (x, z) of J is the marginal in y, less its constant
    S = A @ covariance @ A.T + SIGMA**2 * torch.eye(len(A), dtype=torch.float64)
    marginal = MultivariateNormal(A @ c, S)
    expected = marginal.log_prob(A @ c) - marginal.log_prob(y.flatten(1))
    torch.testing.assert_close(found.objective, expected, rtol=1e-10, atol=0)
    if not continuation:  # the encoder is exact for the final s, and lowers J until nothing can
        assert (found.history["encoder"][:5] == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("optimiser", [Adam(20, rtol=0.0), LBFGS(20, rtol=0.0)])
def test_joint_objective_never_rises(op, optimiser):
    """An encoder that is often wrong: its proposals are refused, and z is optimised."""
    y, model = measurements(op), Bent()
    found = map_xz(model, op, y, sweeps=Sweeps(6, 1e-6), optimiser=optimiser)
    rows = found.history["objective"]
    assert (rows.diff(dim=0) <= 0).all()
    assert rows.shape == (found.iterations + 1, 3)
    J = JointEnergy(model, op, y, SIGMA, STD)
    torch.testing.assert_close(J(found.x, found.z), found.objective, rtol=1e-12, atol=0)
    torch.testing.assert_close(rows[-1], found.objective, rtol=0, atol=0)
    assert found.history["encoder"].mean() < 1


@pytest.mark.slow
def test_joint_objective_after_continuation():
    op = OPERATORS["inpainting"]
    y, model = measurements(op), Bent()
    z = model.encode(first_guess(model, op, y)).mean
    found = map_xz(model, op, y, sweeps=Sweeps(12, 1e-4, continuation=4))
    first = math.sqrt(10) * STD
    x = conditional_mean(model, op, y, z, std=first)
    J = JointEnergy(model, op, y, SIGMA, first)
    torch.testing.assert_close(found.history["objective"][0], J(x, z), rtol=1e-12, atol=0)
    assert (found.history["objective"].diff(dim=0)[5:] <= 0).all()  # s is std from row 5 on
    assert found.iterations > 6
    # Even one who would stop at once goes on until s has reached std, in sweep 5.
    assert map_xz(model, op, y, sweeps=Sweeps(12, 1e3, continuation=4)).iterations == 5


class Given(Sweeps):
    """Sweeps with these s, so that a run of k sweeps is the start of a longer one."""

    def stds(self, std):
        return [2 * std, 1.5 * std, std, std, std][: self.max_iter]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "taken"), [(Bent(), 0.0), (exact_vae(), 1.0)])
def test_every_column_is_that_of_the_sweeps(model, taken):
    """J(x, z) at the s of the sweep, root mean square changes, and who made the proposal."""
    op = OPERATORS["blur"]
    y = measurements(op)
    runs = [map_xz(model, op, y, sweeps=Given(k, 0.0)) for k in range(1, 6)]
    z = model.encode(first_guess(model, op, y)).mean
    x, stds = conditional_mean(model, op, y, z, std=2 * STD), Given(5).stds(STD)
    rows = {"objective": [JointEnergy(model, op, y, SIGMA, stds[0])(x, z)]}
    rows |= {"change": [], "encoder": []}
    for run, s in zip(runs, stds, strict=True):
        moved = [(a - b).flatten(1).square().mean(1).sqrt() for a, b in ((run.x, x), (run.z, z))]
        rows["encoder"].append((run.z == model.encode(x).mean).all(1).double())
        x, z = run.x, run.z
        rows["change"].append(moved[0] + moved[1])
        rows["objective"].append(JointEnergy(model, op, y, SIGMA, s)(x, z))
    assert runs[-1].history.keys() == rows.keys()
    for name, row in rows.items():
        found = runs[-1].history[name]
        torch.testing.assert_close(found, torch.stack(row), rtol=1e-12, atol=0)
    assert runs[-1].history["encoder"][0].mean() == taken


def test_deviation_falls_to_its_final_value():
    """1 / s^2 from a tenth to one, in equal ratios."""
    stds = torch.tensor(Sweeps(6, continuation=4).stds(0.3), dtype=torch.float64)
    expected = 0.3 * 10 ** (torch.tensor([1, 0.75, 0.5, 0.25, 0, 0]).double() / 2)
    torch.testing.assert_close(stds, expected, rtol=1e-14, atol=0)
    assert Sweeps(3).stds(0.3) == [0.3] * 3


@pytest.mark.slow
def test_map_xz_tends_to_map_z():
    """With s -> 0 the image cannot leave the range: the distance falls like s^2."""
    op = OPERATORS["sensing"]
    y, A = measurements(op), matrix_of(op)
    W, c = linear_parts(exact_vae())
    gram = (A @ W).T @ (A @ W) + SIGMA**2 * torch.eye(K, dtype=torch.float64)
    exact = torch.linalg.solve(gram, (A @ W).T @ (y - A @ c).T).T
    gaps = []
    for s in (0.08, 0.04):
        found = map_xz(exact_vae(s), op, y, sweeps=Sweeps(2000, 1e-7))
        gaps.append((found.z - exact).norm())
    assert gaps[1] < 0.02
    assert 3 < gaps[0] / gaps[1] < 4  # 4, less terms of order s^4


def test_starts_from_the_given_image(linear):
    op = OPERATORS["denoising"]
    y, x0 = measurements(op), draw(3, *IMG, seed=15)
    z = linear.encode(x0).mean
    x = conditional_mean(linear, op, y, z)
    found = map_xz(linear, op, y, x0=x0, sweeps=Sweeps(1)).history["objective"][0]
    torch.testing.assert_close(found, JointEnergy(linear, op, y, SIGMA, STD)(x, z))


@pytest.mark.slow
def test_images_do_not_see_each_other():
    """Alone or in a batch: sums in another order, amplified by the optimisation."""
    op, model = OPERATORS["sensing"], Bent()

    def solve(y):
        return map_xz(model, op, y, sweeps=Sweeps(4))

    assert_batch_independent(lambda y: solve(y).x, measurements(op), rtol=0, atol=1e-6)
    assert_batch_independent(lambda y: solve(y).objective, measurements(op), rtol=1e-9)


def test_bad_input():
    op = OPERATORS["denoising"]
    y = measurements(op)
    with pytest.raises(ValueError, match="no encoder"):
        map_xz(Pushforward(Bent(), (K,)), op, y, std=0.1)
    with pytest.raises(ValueError, match="no noise_std"):
        map_xz(Pushforward(Bent(), (K,)), op, y)
    with pytest.raises(ValueError, match=r"continuation < max_iter, got 5 and 5"):
        Sweeps(5, continuation=5)
    with pytest.raises(ValueError, match=r"images to encode of shape \(3, 1, 4, 5\)"):
        map_xz(Bent(), op, y, x0=y[..., :4])
