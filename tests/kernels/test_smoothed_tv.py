"""Smoothed total variation: what the mathematics promises."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.functional import hessian

from course_lib.kernels.smoothed_tv import (
    Descent,
    momenta,
    smoothed_tv_denoise,
    smoothed_tv_grad,
    smoothed_tv_value,
)

F64 = torch.float64
both = pytest.mark.parametrize("boundary", ["periodic", "neumann"])
backends = pytest.mark.parametrize("backend", ["reference", "numba"])


def images(generator, *shape, dtype=F64):
    return torch.rand(shape, generator=generator, dtype=dtype)


def objective(u, v, lam, eps, boundary="periodic"):
    fit = (u - v).square().flatten(1).sum(1) / 2
    return fit + lam * smoothed_tv_value(u, eps, boundary=boundary)


# ------------------------------------------------------------------ value and gradient


@both
@backends
def test_value_of_two_pixels_by_hand(boundary, backend):
    u = torch.tensor([0.25, 0.75], dtype=F64).reshape(1, 1, 1, 2)
    jumps = 2 if boundary == "periodic" else 1
    expected = jumps * (0.3**2 + 0.5**2) ** 0.5 + (2 - jumps) * 0.3
    value = smoothed_tv_value(u, 0.3, boundary=boundary, backend=backend)
    torch.testing.assert_close(value, torch.tensor([expected], dtype=F64))


@both
@backends
def test_constant_image(boundary, backend):
    """TV_eps of a constant is eps times the number of pixels and channels, its gradient 0."""
    u = torch.full((2, 3, 5, 7), 0.4, dtype=F64)
    value = smoothed_tv_value(u, 0.02, boundary=boundary, backend=backend)
    torch.testing.assert_close(value, torch.full((2,), 0.02 * 105, dtype=F64))
    assert (smoothed_tv_grad(u, 0.02, boundary=boundary, backend=backend) == 0).all()


@both
@backends
def test_step_image_has_perimeter_times_height(boundary, backend):
    """As eps -> 0; an edge along the border counts only where the image is periodic."""
    u = torch.zeros(1, 1, 20, 30, dtype=F64)
    u[..., 8:, 10:25] = 0.5  # 12 x 15 pixels, its lower side on the border
    eps = 1e-9
    value = smoothed_tv_value(u, eps, boundary=boundary, backend=backend).item()
    lower = 15 if boundary == "periodic" else 0
    # at its last pixel the square falls both downwards and to the right: sqrt(2) instead of 1 + 1
    corner = 2 - 2**0.5 if boundary == "periodic" else 0
    assert value == pytest.approx(0.5 * (12 * 2 + 15 + lower - corner), abs=600 * eps)


@both
def test_gradient_is_that_of_autograd(boundary, generator):
    u = images(generator, 2, 3, 6, 5).requires_grad_()
    value = smoothed_tv_value(u, 0.05, boundary=boundary, backend="reference")
    (expected,) = torch.autograd.grad(value.sum(), u)
    for backend in ("reference", "numba"):
        grad = smoothed_tv_grad(u.detach(), 0.05, boundary=boundary, backend=backend)
        torch.testing.assert_close(grad, expected, rtol=0, atol=1e-14)


@both
@pytest.mark.parametrize("backend", ["auto", "reference", "numba"])
def test_value_is_differentiable_twice(boundary, backend, generator):
    u = images(generator, 2, 1, 3, 4).requires_grad_()
    options = {"boundary": boundary, "backend": backend}
    assert gradcheck(lambda u: smoothed_tv_value(u, 0.1, **options), u)
    assert gradgradcheck(lambda u: smoothed_tv_value(u, 0.1, **options), u)


def test_gradient_is_differentiable(generator):
    u = images(generator, 1, 2, 3, 4).requires_grad_()
    assert gradcheck(lambda u: smoothed_tv_grad(u, 0.1), u)


def test_hessian_norm_is_8_over_eps_at_a_constant(generator):
    """... and smaller elsewhere: the Lipschitz constant of the gradient is attained."""
    eps = 0.1

    def norm(u):
        h = hessian(lambda u: smoothed_tv_value(u, eps).sum(), u).reshape(36, 36)
        return torch.linalg.matrix_norm(h, 2).item()

    assert norm(torch.full((1, 1, 6, 6), 0.3, dtype=F64)) == pytest.approx(8 / eps, rel=1e-12)
    assert norm(images(generator, 1, 1, 6, 6)) < 4 / eps


@backends
def test_not_contiguous_and_nan(backend, generator):
    u = images(generator, 5, 6, 2, 3).permute(2, 3, 0, 1)
    expected = smoothed_tv_grad(u.contiguous(), 0.1, backend=backend)
    torch.testing.assert_close(smoothed_tv_grad(u, 0.1, backend=backend), expected, rtol=0, atol=0)
    bad = u.clone()
    bad[0, 0, 2, 2] = torch.nan
    value = smoothed_tv_value(bad, 0.1, backend=backend)
    assert value[0].isnan()
    assert value[1].isfinite()


# ------------------------------------------------------------------ the descent


@both
@backends
def test_plain_descent_decreases_the_objective(boundary, backend, generator):
    v, x = images(generator, 2, 1, 16, 17), None
    values = [objective(v, v, 0.1, 0.05, boundary)]
    step = 1.99 / (1 + 8 * 0.1 / 0.05)
    for _ in range(30):
        x = smoothed_tv_denoise(
            v,
            0.1,
            0.05,
            1,
            descent=Descent(momentum=False, step_size=step),
            x0=x,
            boundary=boundary,
            backend=backend,
        )
        values.append(objective(x, v, 0.1, 0.05, boundary))
    assert (torch.stack(values).diff(dim=0) < 0).all()


@both
@backends
def test_both_descents_reach_the_point_of_zero_gradient(boundary, backend, generator):
    v, lam, eps = images(generator, 2, 3, 9, 8), 0.1, 0.05
    options = {"boundary": boundary, "backend": backend}
    fast = smoothed_tv_denoise(v, lam, eps, 250, **options)
    slow = smoothed_tv_denoise(v, lam, eps, 700, descent=Descent(momentum=False), **options)
    residual = fast - v + lam * smoothed_tv_grad(fast, eps, boundary=boundary)
    assert residual.abs().max() < 1e-12
    assert (fast - slow).abs().max() < 1e-12


def test_momentum_keeps_its_promise(generator):
    """F(x_n) - F* <= 4 L |x_0 - x*|^2 / n^2 early, and the linear rate 1 - 1/sqrt(L) late."""
    v, lam, eps = images(generator, 1, 1, 32, 32), 0.1, 0.001
    best = smoothed_tv_denoise(v, lam, eps, 3000)
    lipschitz = 1 + 8 * lam / eps
    distance = (v - best).square().sum().item()
    for n in (10, 100, 400):
        gap = objective(smoothed_tv_denoise(v, lam, eps, n), v, lam, eps) - objective(
            best, v, lam, eps
        )
        bound = min(4 * lipschitz / n**2, 2 * lipschitz * (1 - lipschitz**-0.5) ** n)
        assert gap.item() <= bound * distance


def test_momenta_rise_from_0_to_the_constant_of_strong_convexity():
    q = 1 / 400
    betas = torch.tensor(momenta(q, 500))
    assert betas[0] == betas[1] == 0
    assert (betas.diff() >= -1e-7).all()
    assert betas[-1].item() == pytest.approx((1 - q**0.5) / (1 + q**0.5), abs=1e-6)
    assert momenta(q, 0) == ()


@backends
def test_a_weight_an_image_equals_a_loop(backend, generator):
    v, lams = images(generator, 3, 2, 12, 11), torch.tensor([0.0, 0.05, 0.2])
    together = smoothed_tv_denoise(v, lams, 0.02, 15, backend=backend)
    alone = [
        smoothed_tv_denoise(v[i : i + 1], lam, 0.02, 15, backend=backend)
        for i, lam in enumerate(lams.tolist())
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-7)
    torch.testing.assert_close(together[0], v[0], rtol=0, atol=1e-15)  # lam = 0 keeps v


@backends
def test_no_step_returns_a_copy_and_the_input_is_left_alone(backend, generator):
    v = images(generator, 1, 1, 4, 4)
    before = v.clone()
    x = smoothed_tv_denoise(v, 0.1, 0.1, 0, backend=backend)
    assert torch.equal(x, v)
    assert x.data_ptr() != v.data_ptr()
    smoothed_tv_denoise(v, 0.1, 0.1, 4, backend=backend)
    smoothed_tv_denoise(v, 0.1, 0.1, 4, descent=Descent(momentum=False), x0=v, backend=backend)
    assert torch.equal(v, before)


def test_the_descent_is_differentiable(generator):
    v = images(generator, 2, 1, 3, 4).requires_grad_()
    lam = torch.tensor([0.1, 0.2], dtype=F64, requires_grad=True)
    assert gradcheck(
        lambda v, lam: smoothed_tv_denoise(v, lam, 0.1, 3, descent=Descent(step_size=0.05)),
        (v, lam),
    )


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"v": torch.zeros(3, 8, 8)}, r"shape \(B, C, H, W\).*got \(3, 8, 8\).*unsqueeze"),
        ({"v": torch.zeros(1, 1, 0, 8)}, "none of them 0"),
        ({"v": torch.zeros(1, 1, 8, 8, dtype=torch.uint8)}, "got torch.uint8. Use u / 255"),
        ({"eps": 0}, "eps must be a finite number > 0, got 0"),
        ({"eps": float("nan")}, "eps must be"),
        ({"boundary": "circular"}, "periodic, neumann, got 'circular'"),
        ({"lam": -0.1}, "lam must be finite and >= 0"),
        ({"lam": torch.ones(3)}, r"of shape \(2,\), one an image, got \(3,\)"),
        ({"n_steps": -1}, "n_steps must be a whole number >= 0, got -1"),
        ({"n_steps": 2.0}, "n_steps must be a whole number"),
        ({"x0": torch.zeros(2, 1, 8, 9)}, "expected x0 like v"),
        (
            {"descent": Descent(step_size=0.2)},
            "step_size <= 1/L = 0.111111 .*got 0.2. Leave it out",
        ),
        ({"descent": Descent(False, 0.23)}, "step_size < 2/L = 0.222222"),
        ({"descent": Descent(step_size=0.0)}, "expected 0 < step_size"),
    ],
)
def test_bad_input(change, message):
    arguments = {"v": torch.zeros(2, 1, 8, 8), "lam": 0.1, "eps": 0.1, "n_steps": 1} | change
    with pytest.raises(ValueError, match=message):
        smoothed_tv_denoise(**arguments)
