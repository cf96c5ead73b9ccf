"""FISTA with restarts: the limit of ISTA, sooner; the conditions that a Lasso solution meets."""

import pytest
import torch

from course_lib.functionals import DCT, LeastSquares, Ridge, Sparsity, Tychonov, Wavelets
from course_lib.operators import (
    Blur,
    CompressedSensing,
    Denoising,
    Inpainting,
    gaussian_kernel,
)
from course_lib.solvers import (
    accelerated_proximal_gradient,
    proximal_gradient,
    tychonov,
)

SIZE = (1, 8, 8)


def images(generator, n=3):
    return torch.rand(n, *SIZE, generator=generator, dtype=torch.float64)


def lasso(generator, transform, lam, n=3, m=30, spare=False):
    """A data term and a penalty; the images have 5 coefficients, which 30 measurements find."""
    op = CompressedSensing(m, SIZE, generator, dtype=torch.float64)
    c = torch.zeros(n, 64, dtype=torch.float64)
    where = torch.rand(n, 64, generator=generator).topk(5).indices
    c.scatter_(1, where, 1 + torch.rand(n, 5, generator=generator, dtype=torch.float64))
    y = op.A(transform.synthesis(c.view(n, *SIZE)))
    y += 0.01 * torch.randn(n, m, generator=generator, dtype=torch.float64)
    return LeastSquares(op, y), Sparsity(lam, transform, spare_coarsest=spare)


TRANSFORMS = [DCT(SIZE), Wavelets(SIZE)]
ids = lambda T: type(T).__name__  # noqa: E731


@pytest.mark.parametrize("spare", [False, True])
@pytest.mark.parametrize("lam", [0.3, 0.03])
@pytest.mark.parametrize("transform", TRANSFORMS, ids=ids)
def test_lasso_conditions(transform, lam, spare, generator):
    """|Psi A^T (y - A x)| <= lam, with equality and the sign of the coefficient on the support."""
    f, g = lasso(generator, transform, lam, spare=spare)
    run = accelerated_proximal_gradient(
        f, g, torch.zeros(3, *SIZE).double(), max_iter=5000, rtol=1e-10
    )
    assert run.status == "converged"
    c, pull = transform.analysis(run.x), -transform.analysis(f.grad(run.x))
    weight = torch.full_like(c, lam)
    if spare:
        weight[..., :1, :1] = 0
    support = c.abs() > 1e-7
    assert 3 <= support.sum() < 3 * 64 / 2
    # The change per step bounds the residual of the conditions times the step, 1 / L > 0.1.
    tight = 1e-7
    assert (pull.abs() <= weight + tight).all()
    gap = pull - weight * c.sign()
    assert gap[support].abs().max() <= tight


@pytest.mark.slow
@pytest.mark.parametrize("transform", TRANSFORMS, ids=ids)
def test_it_ends_where_ista_ends_and_sooner(transform, generator):
    f, g = lasso(generator, transform, 0.05)
    zero = torch.zeros(3, *SIZE).double()
    plain = proximal_gradient(f, g, zero, max_iter=20000, rtol=1e-12)
    fast = accelerated_proximal_gradient(f, g, zero, max_iter=20000, rtol=1e-12)
    assert plain.status == fast.status == "converged"
    # ISTA creeps: a change of 1e-12 leaves a distance of about 1e-12 / (1 - contraction).
    assert torch.allclose(plain.x, fast.x, rtol=0, atol=1e-8)
    assert len(fast.history["change"]) < 0.5 * len(plain.history["change"])


def test_the_bound_of_beck_and_teboulle(generator):
    """F(x_n) - F* <= 2 L |x_0 - x*|^2 / (n + 1)^2; restarts only help here."""
    f, g = lasso(generator, DCT(SIZE), 0.01)
    zero = torch.zeros(3, *SIZE).double()
    best = accelerated_proximal_gradient(f, g, zero, max_iter=20000, rtol=1e-13).x
    run = accelerated_proximal_gradient(f, g, zero, max_iter=100, rtol=0)
    gap = run.history["objective"] - (f(best) + g(best))
    n = torch.arange(1, len(gap), dtype=torch.float64)[:, None]
    bound = 2 * f.lipschitz * best.flatten(1).square().sum(1) / (n + 1).square()
    assert (gap >= -1e-12).all()
    assert (gap[1:] <= bound + 1e-12).all()
    plain = proximal_gradient(f, g, zero, max_iter=100, rtol=0).history["objective"]
    assert (gap[-1] < 0.1 * (plain[-1] - (f(best) + g(best)))).all()


def test_restarts_give_linear_convergence(generator):
    """On the support the data term is strongly convex, and 1 / n^2 is left behind."""
    f, g = lasso(generator, DCT(SIZE), 0.05)
    zero = torch.zeros(3, *SIZE).double()
    best = accelerated_proximal_gradient(f, g, zero, max_iter=20000, rtol=1e-14).x
    gap = accelerated_proximal_gradient(f, g, zero, max_iter=400, rtol=0).history["objective"]
    gap = gap - (f(best) + g(best))
    assert (gap[300] <= 1e-9 * gap[0]).all()  # the bound above allows 1e-5


def test_one_step_in_an_orthonormal_basis(generator):
    y = images(generator)
    g = Sparsity(0.1, DCT(SIZE))
    run = accelerated_proximal_gradient(LeastSquares(Denoising(SIZE), y), g, torch.zeros_like(y))
    assert torch.allclose(run.x, g.prox(y, 1.0), rtol=0, atol=1e-14)
    assert run.status == "converged"
    assert len(run.history["change"]) <= 3  # one step there, and the steps that notice


def test_tychonov_by_its_proximal_map(generator):
    op, y = Blur(gaussian_kernel(0.8, 5, torch.float64), SIZE), images(generator)
    run = accelerated_proximal_gradient(
        LeastSquares(op, y), Tychonov(0.1), y, max_iter=3000, rtol=1e-13
    )
    assert run.status == "converged"
    assert torch.allclose(run.x, tychonov(op, y, 0.1).x, rtol=0, atol=1e-10)


def test_sparse_inpainting_satisfies_the_lasso_conditions(generator):
    seen = torch.rand(SIZE, generator=generator) < 0.7
    op, lam, T = Inpainting(seen), 0.05, DCT(SIZE)
    f = LeastSquares(op, op.A(images(generator)))
    run = accelerated_proximal_gradient(
        f, Sparsity(lam, T), f.y, step_size=1.0, max_iter=5000, rtol=1e-12
    )
    pull = T.analysis(f.grad(run.x)).abs()
    assert (pull <= lam + 1e-8).all()


def test_history_has_a_row_an_iterate(generator):
    f, g = lasso(generator, DCT(SIZE), 0.05)
    x0 = images(generator)
    run = accelerated_proximal_gradient(f, g, x0, max_iter=7, rtol=0)
    assert run.status == "max_iter"
    assert run.iterations == 7
    assert run.history["change"].shape == (7, 3)
    assert run.history["objective"].shape == (8, 3)
    assert torch.equal(run.history["objective"][0], f(x0) + g(x0))
    assert torch.equal(run.history["objective"][-1], f(run.x) + g(run.x))


def test_bad_input_and_divergence(generator):
    y = images(generator)
    f = LeastSquares(Denoising(SIZE), y)
    name = "accelerated_proximal_gradient"
    with pytest.raises(ValueError, match=f"{name}: step_size must be a positive"):
        accelerated_proximal_gradient(f, Ridge(0.1), y, step_size=0.0)
    bad = y.clone()
    bad[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=f"{name}: x0 holds 1 values that are NaN"):
        accelerated_proximal_gradient(f, Ridge(0.1), bad)
    run = accelerated_proximal_gradient(f, Ridge(0.0), 2 * y, step_size=9.0, max_iter=3000, rtol=0)
    assert run.status == "diverged"
