"""Gradient descent does what its theorems say: thresholds, rates, steps, limits."""

import math

import pytest
import torch
from scipy import linalg

from course_lib.finite_differences import laplacian, laplacian_symbol
from course_lib.functionals import LeastSquares, Ridge, Tychonov
from course_lib.operators import (
    Blur,
    CompressedSensing,
    Denoising,
    Downsampling,
    GaussianNoise,
    Inpainting,
    gaussian_kernel,
)
from course_lib.solvers import gradient_descent, project_box, project_consistent


class Quadratic:
    """1/2 <x, H x> with a diagonal H: everything about it is known."""

    def __init__(self, eigenvalues):
        self.h = torch.tensor(eigenvalues, dtype=torch.float64)
        self.lipschitz = self.h.max().item()

    def __call__(self, x):
        return (self.h * x.square()).sum(1) / 2

    def grad(self, x):
        return self.h * x

    hvp = grad


@pytest.fixture
def problem(generator):
    """A strongly convex f = 1/2 |A x - y|^2 + alpha/2 |x|^2 with its minimiser, L and alpha."""
    op = CompressedSensing(20, (1, 3, 4), generator, dtype=torch.float64)
    y = torch.randn(2, 20, generator=generator, dtype=torch.float64)
    f = LeastSquares(op, y) + Ridge(0.3)
    hessian = op.matrix.T @ op.matrix + 0.3 * torch.eye(12, dtype=torch.float64)
    best = torch.linalg.solve(hessian, op.matrix.T @ y.T).T.reshape(2, 1, 3, 4)
    eigenvalues = torch.linalg.eigvalsh(hessian)
    return f, best, eigenvalues[-1].item(), eigenvalues[0].item()


@pytest.mark.slow
@pytest.mark.parametrize("at", [1.99, 2.01])
def test_the_threshold_is_two_over_l(at):
    """Below 2 / L the fastest mode shrinks by 0.99 a step, above it grows by 1.01."""
    f = Quadratic([0.5, 1.0, 4.0])
    x0 = torch.ones(1, 3, dtype=torch.float64)
    solution = gradient_descent(f, x0, step_size=at / 4, max_iter=2000, rtol=0.0)
    assert solution.x[0, 2].abs() == pytest.approx(abs(1 - at) ** 2000, rel=1e-9)
    objective = solution.history["objective"][:, 0]
    if at < 2:
        assert (objective.diff() <= 0).all()
        assert objective[-1] <= 1e-15
    else:
        assert objective[-1] > 1e15


def test_a_step_beyond_the_threshold_is_reported_as_diverged():
    f = Quadratic([1.0, 4.0])
    solution = gradient_descent(f, torch.ones(1, 2).double(), step_size=5.0, max_iter=1000)
    assert solution.status == "diverged"
    assert solution.iterations < 1000  # it stops, and still returns what happened
    assert solution.history["objective"][0] == 2.5


@pytest.mark.parametrize("at", [1.99, 2.01])
def test_the_threshold_holds_for_a_real_operator(at, generator):
    """f.lipschitz is the constant of the theorem: |A|^2 for a blur, attained at frequency 0."""
    op = Blur(gaussian_kernel(1.0, dtype=torch.float64), (1, 16, 16))
    f = LeastSquares(op, op.A(torch.rand(1, 1, 16, 16, generator=generator, dtype=torch.float64)))
    x0 = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    solution = gradient_descent(f, x0, step_size=at / f.lipschitz, max_iter=1500, rtol=0.0)
    objective = solution.history["objective"][:, 0]
    assert (objective[-1] < 1e-3 * objective[0]) == (at < 2)


def test_descent_lemma(problem, generator):
    """f(y) <= f(x) + <grad f(x), y - x> + L/2 |y - x|^2, with slack for rounding only."""
    f, _, L, _ = problem
    for scale in (1e-3, 1.0, 100.0):
        x, y = (
            scale * torch.randn(2, 2, 1, 3, 4, generator=generator, dtype=torch.float64)
        ).unbind()
        linear = (f.grad(x) * (y - x)).flatten(1).sum(1)
        quadratic = L / 2 * (y - x).flatten(1).square().sum(1)
        slack = f(x) + linear + quadratic - f(y)
        assert (slack >= -1e-12 * (1 + f(y))).all()


@pytest.mark.parametrize("at", [0.5, 1.0, 1.9])
def test_each_step_gains_what_the_lemma_promises(problem, at, generator):
    """f decreases by at least tau (1 - tau L / 2) |grad f|^2."""
    f, _, L, _ = problem
    x0 = torch.randn(2, 1, 3, 4, generator=generator, dtype=torch.float64)
    tau = at / L
    history = gradient_descent(f, x0, step_size=tau, max_iter=50, rtol=0.0).history
    gain = -history["objective"].diff(dim=0)
    promised = tau * (1 - tau * L / 2) * history["gradient_norm"][:-1].square()
    assert (gain >= promised - 1e-12).all()


@pytest.mark.parametrize("at", [0.3, 1.0])
def test_linear_rate_under_strong_convexity(problem, at, generator):
    """|x_n - x*|^2 <= (1 - tau alpha)^n |x_0 - x*|^2 for tau <= 1 / L."""
    f, best, L, alpha = problem
    x0 = torch.randn(2, 1, 3, 4, generator=generator, dtype=torch.float64)
    for n in (1, 5, 40):
        x = gradient_descent(f, x0, step_size=at / L, max_iter=n, rtol=0.0).x
        bound = (1 - at / L * alpha) ** n * (x0 - best).flatten(1).square().sum(1)
        assert ((x - best).flatten(1).square().sum(1) <= bound * (1 + 1e-9)).all()


@pytest.mark.parametrize("at", [0.5, 1.0, 1.9])
def test_the_distance_to_every_minimiser_never_rises(at, generator):
    """Underdetermined least squares: many minimisers, and the one next to the start is found."""
    op = CompressedSensing(5, (1, 3, 4), generator, dtype=torch.float64)
    x0, seed = torch.randn(2, 1, 1, 3, 4, generator=generator, dtype=torch.float64).unbind()
    y = op.A(torch.randn(1, 1, 3, 4, generator=generator, dtype=torch.float64))
    minimisers = {
        name: u - op.A_dagger(op.A(u) - y) for name, u in {"near": x0, "other": seed}.items()
    }
    for name, goal in minimisers.items():
        tau = at / op.norm() ** 2
        run = gradient_descent(
            LeastSquares(op, y), x0, step_size=tau, max_iter=1500, rtol=0.0, goal=goal
        )
        distance = run.history["distance"]
        assert (distance.diff(dim=0) <= 1e-12).all()
        assert (distance[-1] < 1e-8) == (name == "near")


@pytest.mark.parametrize("at", [0.5, 1.0, 1.9])
def test_projected_gradient_approaches_every_minimiser_of_the_constrained_problem(at, generator):
    """Box-constrained least squares with more unknowns than data, by a fixed point first."""
    op = CompressedSensing(5, (1, 3, 4), generator, dtype=torch.float64)
    f = LeastSquares(op, 3 * torch.randn(1, 5, generator=generator, dtype=torch.float64))
    x0, other = torch.rand(2, 1, 1, 3, 4, generator=generator, dtype=torch.float64).unbind()
    options = {"step_size": at / op.norm() ** 2, "rtol": 0.0, "project": project_box(0, 1)}
    ends = [gradient_descent(f, start, max_iter=4000, **options).x for start in (x0, other)]
    for end in ends:
        step = project_box(0, 1)(end - options["step_size"] * f.grad(end))
        assert (step - end).abs().max() < 1e-9  # a fixed point, that is a minimiser on the box
        run = gradient_descent(f, x0, max_iter=300, goal=end, **options)
        assert (run.history["distance"].diff(dim=0) <= 1e-9).all()


def test_the_distance_is_that_of_each_iterate(problem, generator):
    f, best, L, _ = problem
    x0 = torch.randn(2, 1, 3, 4, generator=generator, dtype=torch.float64)
    options = {"step_size": 1 / L, "rtol": 0.0}
    run = gradient_descent(f, x0, max_iter=7, goal=best, **options)
    for n in (0, 3, 7):
        x = gradient_descent(f, x0, max_iter=n, **options).x
        expected = (x - best).flatten(1).norm(dim=1)
        assert torch.allclose(run.history["distance"][n], expected, rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match=r"goal has shape \(1, 1, 3, 4\), expected that of x0"):
        gradient_descent(f, x0, goal=best[:1])


def test_each_mode_follows_its_own_factor():
    """On a quadratic the n-th iterate is (1 - tau h)^n x_0, mode by mode."""
    f = Quadratic([0.1, 1.0, 3.0])
    x = gradient_descent(f, torch.ones(1, 3).double(), step_size=0.4, max_iter=25, rtol=0.0).x
    assert torch.allclose(x[0], (1 - 0.4 * f.h) ** 25, rtol=1e-12, atol=0)


def test_optimal_steps_make_successive_gradients_orthogonal(problem, generator):
    f, _, _, _ = problem
    x = torch.randn(2, 1, 3, 4, generator=generator, dtype=torch.float64)
    for _ in range(5):
        x_new = gradient_descent(f, x, step_size="optimal", max_iter=1, rtol=0.0).x
        a, b = f.grad(x).flatten(1), f.grad(x_new).flatten(1)
        assert ((a * b).sum(1).abs() <= 1e-10 * a.norm(dim=1) * b.norm(dim=1)).all()
        x = x_new


def test_the_optimal_step_is_the_best_of_all_steps(problem, generator):
    """Cauchy's step of each image minimises t -> f(x - t g); |g|^2 / |A g|^2 for least squares."""
    f, _, _, _ = problem
    x = torch.randn(2, 1, 3, 4, generator=generator, dtype=torch.float64)
    reached = f(gradient_descent(f, x, step_size="optimal", max_iter=1, rtol=0.0).x)
    g = f.grad(x)
    for t in torch.linspace(0.01, 3, 100).tolist():
        assert (reached <= f(x - t * g) + 1e-12).all()


def test_rate_of_optimal_steps(problem, generator):
    """f_{n+1} - f* <= ((kappa - 1)/(kappa + 1))^2 (f_n - f*)."""
    f, best, L, alpha = problem
    x0 = torch.randn(2, 1, 3, 4, generator=generator, dtype=torch.float64)
    history = gradient_descent(f, x0, step_size="optimal", max_iter=40, rtol=0.0).history
    excess = history["objective"] - f(best)
    factor = ((L - alpha) / (L + alpha)) ** 2
    assert (excess[1:] <= factor * excess[:-1] + 1e-12).all()


def test_the_rate_of_optimal_steps_is_attained():
    """Kantorovich's worst start (1/h_1, 1/h_n): every step gains exactly the factor."""
    f = Quadratic([1.0, 10.0])
    x0 = torch.tensor([[1.0, 0.1]], dtype=torch.float64)
    objective = gradient_descent(f, x0, step_size="optimal", max_iter=20, rtol=0.0).history[
        "objective"
    ]
    ratios = objective[1:] / objective[:-1]
    assert torch.allclose(ratios, torch.full_like(ratios, (9 / 11) ** 2), rtol=1e-10)


def test_the_default_step_is_one_over_l(problem, generator):
    f = problem[0]
    x0 = torch.randn(2, 1, 3, 4, generator=generator, dtype=torch.float64)
    default = gradient_descent(f, x0, max_iter=7, rtol=0.0).x
    explicit = gradient_descent(f, x0, step_size=1 / f.lipschitz, max_iter=7, rtol=0.0).x
    assert torch.equal(default, explicit)


def test_from_zero_the_limit_is_the_pseudo_inverse(generator):
    """The iterates never leave the range of A^T, so of all solutions the shortest is reached."""
    op = CompressedSensing(5, (1, 3, 4), generator, dtype=torch.float64)
    y = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    solution = gradient_descent(
        LeastSquares(op, y), torch.zeros(2, 1, 3, 4).double(), max_iter=20_000, rtol=1e-13
    )
    assert solution.status == "converged"
    assert torch.allclose(solution.x, op.A_dagger(y), rtol=0, atol=1e-9)  # 1e-13 times condition


def test_history_has_one_row_an_iterate(problem, generator):
    f = problem[0]
    x0 = torch.randn(2, 1, 3, 4, generator=generator, dtype=torch.float64)
    solution = gradient_descent(f, x0, step_size=0.1, max_iter=6, rtol=0.0)
    history = solution.history
    assert solution.status == "max_iter"
    assert history["objective"].shape == history["gradient_norm"].shape == (7, 2)
    assert history["change"].shape == (6, 2)
    assert torch.equal(history["objective"][0], f(x0))
    assert torch.equal(history["objective"][-1], f(solution.x))
    first = gradient_descent(f, x0, step_size=0.1, max_iter=1, rtol=0.0).x
    assert torch.allclose(history["change"][0], (first - x0).flatten(1).norm(dim=1), rtol=1e-14)
    g = f.grad(solution.x).flatten(1).norm(dim=1)
    assert torch.allclose(history["gradient_norm"][-1], g, rtol=1e-14)


def test_it_stops_at_the_promised_tolerance(problem, generator):
    f = problem[0]
    x0 = torch.randn(1, 1, 3, 4, generator=generator, dtype=torch.float64).expand(2, -1, -1, -1)
    solution = gradient_descent(f, x0, max_iter=10_000, rtol=1e-6)
    change = solution.history["change"]
    limit = 1e-6 * solution.x.flatten(1).norm(dim=1)
    assert solution.status == "converged"
    assert (change[-1] <= limit).all()
    assert (change[-2] > limit * (1 - 1e-3)).any()  # and not a step later


def test_a_start_at_the_minimum_converges_at_once(problem):
    f, best, _, _ = problem
    solution = gradient_descent(f, best, step_size="optimal", rtol=1e-9)
    assert solution.status == "converged"
    assert torch.allclose(solution.x, best, rtol=0, atol=1e-12)
    still = gradient_descent(Quadratic([1.0, 2.0]), torch.zeros(1, 2).double(), step_size="optimal")
    assert still.status == "converged"  # gradient 0: no division by 0
    assert torch.equal(still.x, torch.zeros(1, 2).double())


# ------------------------------------------------------------------ batches


def test_one_diverging_image_is_reported_for_the_batch():
    class Partly(Quadratic):
        def grad(self, x):
            return torch.where(x > 10, torch.inf, super().grad(x))

    x0 = torch.tensor([[1.0, 1.0], [20.0, 1.0]], dtype=torch.float64)
    solution = gradient_descent(Partly([1.0, 1.0]), x0, step_size=0.5, max_iter=100)
    assert solution.status == "diverged"
    assert solution.x[0].isfinite().all()


# ------------------------------------------------------------------ heat equation


@pytest.mark.parametrize("size", [(8, 8), (9, 12)])
@pytest.mark.parametrize("tau", [0.03, 0.125])
def test_heat_equation_mode_by_mode(size, tau, generator):
    """Descent on |grad u|^2 multiplies each mode by (1 - 2 tau L^)^n, exactly."""
    u = torch.rand(2, 1, *size, generator=generator, dtype=torch.float64)
    n = 20
    moved = gradient_descent(Tychonov(1.0), u, step_size=tau, max_iter=n, rtol=0.0).x
    factor = (1 - 2 * tau * laplacian_symbol(size)) ** n
    expected = torch.fft.irfft2(factor * torch.fft.rfft2(u), s=size)
    assert (moved - expected).abs().max() <= 1e-14  # some ten roundings
    mass = u.mean((-2, -1))
    assert torch.allclose(moved.mean((-2, -1)), mass, rtol=0, atol=1e-14)


def test_heat_equation_is_stable_up_to_an_eighth(generator):
    """Maximum principle and decreasing norm at tau = 1/8; at 0.13 the checkerboard explodes."""
    u = torch.rand(1, 1, 16, 16, generator=generator, dtype=torch.float64)
    for _ in range(30):
        new = gradient_descent(Tychonov(1.0), u, step_size=0.125, max_iter=1, rtol=0.0).x
        assert u.min() - 1e-15 <= new.min()
        assert new.max() <= u.max() + 1e-15
        assert new.norm() <= u.norm() * (1 + 1e-15)
        u = new
    board = (-1.0) ** (torch.arange(16)[:, None] + torch.arange(16)).double()[None, None]
    for tau, grows in ((0.12, False), (0.13, True)):
        after = gradient_descent(Tychonov(1.0), board, step_size=tau, max_iter=50, rtol=0.0).x
        assert after.norm() / board.norm() == pytest.approx(abs(1 - 16 * tau) ** 50, rel=1e-9)
        assert (after.norm() > board.norm()) == grows


def test_heat_equation_tends_to_a_gaussian_blur():
    """n steps of tau blur like a Gaussian of variance 4 tau n, on low frequencies (1 %)."""
    u = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    u[..., 32, 32] = 1
    tau, n = 0.02, 50
    moved = gradient_descent(Tychonov(1.0), u, step_size=tau, max_iter=n, rtol=0.0).x
    spectrum = torch.fft.rfft2(moved).abs()[0, 0, 0, :5]
    f = torch.arange(5).double() / 64
    gauss = torch.exp(-2 * math.pi**2 * (4 * tau * n) * f**2)
    assert torch.allclose(spectrum, gauss, rtol=0.01)


# ------------------------------------------------------------------ projected descent


def test_inpainting_is_the_discrete_harmonic_extension(generator):
    """Projected descent on |grad u|^2 ends where Laplacian u = 0 on the lost pixels."""
    mask = torch.rand(1, 7, 8, generator=generator) < 0.5
    truth = torch.rand(1, 1, 7, 8, generator=generator, dtype=torch.float64)
    op = Inpainting(mask)
    y = op.A(truth)
    solution = gradient_descent(
        Tychonov(1.0),
        y,
        step_size=0.12,
        max_iter=20_000,
        rtol=1e-15,
        project=project_consistent(op, y),
    )
    n = 56
    L = laplacian(torch.eye(n, dtype=torch.float64).reshape(n, 7, 8)).reshape(n, n)
    lost = ~mask.flatten()
    expected = truth.flatten().clone()
    right = -L[lost][:, ~lost] @ expected[~lost]
    expected[lost] = torch.from_numpy(linalg.solve(L[lost][:, lost].numpy(), right.numpy()))
    assert torch.allclose(solution.x.flatten(), expected, rtol=0, atol=1e-12)
    assert torch.equal(solution.x[:, mask], truth[:, mask])


def test_the_start_is_projected_and_the_constraint_never_left(generator):
    op = Denoising((1, 4, 4))
    y = 3 * torch.randn(2, 1, 4, 4, generator=generator, dtype=torch.float64)
    f = LeastSquares(op, y)
    start = torch.full_like(y, 5.0)
    one = gradient_descent(f, start, step_size=0.1, max_iter=1, rtol=0.0, project=project_box())
    assert torch.equal(one.history["objective"][0], f(torch.ones_like(y)))
    assert one.x.min() >= 0
    assert one.x.max() <= 1
    end = gradient_descent(f, start, step_size=0.5, project=project_box(), rtol=1e-12)
    assert torch.allclose(end.x, y.clamp(0, 1), rtol=0, atol=1e-11)  # the projection itself


def test_consistent_super_resolution_keeps_explaining_the_data(generator):
    op = Downsampling((1, 8, 12), 2, noise_model=GaussianNoise(0.1))
    y = op.A(torch.rand(2, 1, 8, 12, generator=generator, dtype=torch.float64))
    solution = gradient_descent(
        Tychonov(1.0), op.A_dagger(y), step_size=0.1, project=project_consistent(op, y)
    )
    assert torch.allclose(op.A(solution.x), y, rtol=0, atol=1e-13)


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize("step", [0.0, -1.0, float("nan")])
def test_a_step_must_be_positive(step):
    with pytest.raises(ValueError, match=r"positive number or None.*below 2 / L"):
        gradient_descent(Quadratic([1.0]), torch.ones(1, 1).double(), step_size=step)


def test_the_start_needs_a_batch_axis_and_finite_numbers():
    with pytest.raises(ValueError, match=r"leading batch axis.*unsqueeze\(0\)"):
        gradient_descent(Quadratic([1.0]), torch.ones(1).double())
    with pytest.raises(ValueError, match="1 values that are NaN or infinite"):
        gradient_descent(Quadratic([1.0, 1.0]), torch.tensor([[1.0, torch.nan]]))


def test_missing_curvature_is_explained():
    class Bare:
        def __call__(self, x):
            return x.square().sum(1)

        def grad(self, x):
            return 2 * x

    with pytest.raises(TypeError, match=r"needs f.hvp.*number below 2 / L"):
        gradient_descent(Bare(), torch.ones(1, 1), step_size="optimal")
    with pytest.raises(TypeError, match="no attribute `lipschitz`"):
        gradient_descent(Bare(), torch.ones(1, 1))
