"""The kernel of a known image, against dense algebra."""

import pytest
import torch
from blind_world import F64, SIZE, kernels

from course_lib.inference.blind_deconvolution import (
    KernelObjective,
    KernelStep,
    data_fidelity,
    first_kernels,
    on_simplex,
    slope_through_projection,
)
from course_lib.operators import Blur, BlurEach
from course_lib.rng import generator_from


def test_the_gradient_with_respect_to_the_kernel(images, blurred):
    """Up to a multiple of 1, which the simplex does not see; and as autograd has it."""
    f, h = KernelObjective(images, blurred, (3, 5), ridge=0.3), kernels(seed=5).requires_grad_()
    value = data_fidelity(BlurEach(h, SIZE), images, blurred) + 0.15 * h.square().sum((1, 2, 3))
    torch.testing.assert_close(f(h), value)
    (slope,) = torch.autograd.grad(value.sum(), h)
    centred = [g - g.mean((1, 2, 3), keepdim=True) for g in (f.grad(h.detach()), slope)]
    torch.testing.assert_close(*centred)


def test_the_bound_on_the_curvature_along_the_simplex(images, blurred):
    """Against the dense Gram matrix of the translates of x, on directions of sum 0."""
    f = KernelObjective(images, blurred, (3, 5))
    shifts = [(a - 1, b - 2) for a in range(3) for b in range(5)]
    for i, x in enumerate(images):
        columns = torch.stack([x.roll(s, (-2, -1)).flatten() for s in shifts])
        columns = columns - columns.mean(0)  # projects on sum 0
        largest = torch.linalg.eigvalsh(columns @ columns.T).max()
        assert largest <= f.lipschitz[i] * (1 + 1e-12)
        assert largest >= 0.4 * f.lipschitz[i]  # a bound that is of use


@pytest.mark.parametrize("size", [(1, 5), (5, 3), (3, 5), (11, 11)])  # 11 x 11 lags wrap around
def test_the_bound_is_the_largest_row_sum_of_the_hessian(images, blurred, size):
    """By the dense Hessian a(t - t'), a the correlation of x - m with itself, plus the ridge."""
    f = KernelObjective(images, blurred, size, ridge=0.3)
    shifts = [(a, b) for a in range(size[0]) for b in range(size[1])]
    for i, x in enumerate(images - images.mean((2, 3), keepdim=True)):
        columns = torch.stack([x.roll(s, (-2, -1)).flatten() for s in shifts])
        rows = (columns @ columns.T).abs().sum(1)
        torch.testing.assert_close(f.lipschitz[i], rows.max() + 0.3)


def test_a_given_step_size_is_taken(images, blurred):
    f, h = KernelObjective(images, blurred, (3, 5)), kernels()
    expected = on_simplex(h - 1e-3 * f.grad(h))
    torch.testing.assert_close(KernelStep(step_size=1e-3)(f, h), expected, rtol=0, atol=0)


@pytest.mark.parametrize("method", ["projected", "through_projection"])
def test_the_kernel_of_a_known_image_is_found(method):
    """Without noise, 15 taps and 132 pixels: least squares have one answer, the true kernel."""
    white = torch.rand(3, *SIZE, generator=generator_from(15), dtype=F64)
    h = kernels()
    f = KernelObjective(white, BlurEach(h, SIZE).A(white), (3, 5))
    step, v = KernelStep(method), first_kernels("flat", (3, 5), white)
    values = [f(v)]
    for _ in range(200):
        v = step(f, v)
        values.append(f(step.kernel(v)))
    assert (torch.stack(values).diff(dim=0) <= 1e-14).all()  # no step goes up
    torch.testing.assert_close(step.kernel(v), h, rtol=0, atol=1e-6)


def test_the_gradient_through_the_projection_is_its_jacobian():
    """P'(v)^T g with P' = I_S - 1 1^T / |S|, and by finite differences."""
    v = 0.3 * torch.randn(2, 1, 3, 3, generator=generator_from(4), dtype=F64)
    g = torch.randn(2, 1, 3, 3, generator=generator_from(5), dtype=F64)
    found = slope_through_projection(lambda _: g, v)
    support = on_simplex(v) > 0
    assert (support.sum((1, 2, 3)) < 9).all()
    inside = g * support
    mean = inside.sum((1, 2, 3), keepdim=True) / support.sum((1, 2, 3), keepdim=True)
    torch.testing.assert_close(found, inside - support * mean)
    e = 1e-6 * torch.eye(9, dtype=F64).view(9, 1, 3, 3)
    for b in range(2):
        ahead, back = on_simplex(v[b] + e), on_simplex(v[b] - e)
        slopes = ((ahead - back) * g[b]).sum((1, 2, 3)) / 2e-6
        torch.testing.assert_close(found[b].flatten(), slopes, rtol=0, atol=1e-8)


def test_a_tap_that_is_zero_returns_by_projected_steps_only(images):
    h = kernels()
    f = KernelObjective(images, BlurEach(h, SIZE).A(images), (3, 5))
    start = torch.zeros_like(h)
    start[..., 1, 2] = 1  # the identity: every other tap is 0
    projected, through = KernelStep("projected"), KernelStep("through_projection")
    assert (projected(f, start) > 0).sum() > 3
    assert torch.equal(through.kernel(through(f, start)), start)


def test_first_kernels():
    y = torch.zeros(2, 1, 9, 13, dtype=F64)
    wide, flat, narrow = (first_kernels(init, (5, 9), y) for init in ("wide", "flat", "narrow"))
    for kernel in (wide, flat, narrow):
        assert kernel.shape == (2, 1, 5, 9)
        torch.testing.assert_close(kernel.sum((1, 2, 3)), torch.ones(2, dtype=F64))
    assert flat.unique().tolist() == [1 / 45]
    assert narrow[0, 0, 2, 4] > 0.9
    assert wide.amax() < 0.1
    signal = first_kernels("wide", (1, 5), torch.zeros(1, 1, 1, 8))
    assert signal.shape == (1, 1, 1, 5)
    own = first_kernels(torch.ones(1, 1, 3, 3), 3, y)
    torch.testing.assert_close(own, torch.full((2, 1, 3, 3), 1 / 9, dtype=F64))


@pytest.mark.parametrize(("init", "widths"), [("wide", (1.4, 2.52)), ("narrow", (0.35, 0.35))])
def test_the_first_gaussians_have_their_widths(init, widths):
    """A log parabola along either axis: 0.28 of the height, 0.28 of the width, or 0.35 pixels."""
    kernel = first_kernels(init, (5, 9), torch.zeros(1, 1, 9, 13, dtype=F64))[0, 0]
    rows, columns = (torch.arange(n) - n // 2 for n in kernel.shape)
    drop = (rows / widths[0]).square()[:, None] + (columns / widths[1]).square()
    torch.testing.assert_close(kernel, kernel[2, 4] * (-drop.double() / 2).exp())


def test_colours_share_a_kernel():
    g = generator_from(11)
    x = torch.rand(1, 3, 10, 10, generator=g, dtype=F64)
    h = kernels(1, (3, 3))
    f = KernelObjective(x, Blur(h, (3, 10, 10)).A(x), (3, 3))
    torch.testing.assert_close(f.grad(h), torch.zeros_like(h), rtol=0, atol=1e-12)
