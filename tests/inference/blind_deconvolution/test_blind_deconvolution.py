"""Blind deconvolution, against closed forms of the Gaussian world and dense algebra.

Images have a few dozen pixels; in double precision sums over them round at about 1e-15.
"""

import math

import numpy as np
import pytest
import torch
from skimage.restoration import richardson_lucy

from course_lib.exact import EmpiricalMixture, power_law
from course_lib.fourier import half_spectrum_weights, squared_modulus
from course_lib.functionals import LeastSquares, SmoothedTV
from course_lib.inference.blind_deconvolution import (
    DenoiserPotential,
    ImageStep,
    JointHessian,
    KernelMisfit,
    KernelStep,
    Stage,
    blind_deconvolution,
    blind_richardson_lucy,
    coarse_to_fine,
    curvature,
    deconvolve,
    face_basis,
    first_kernels,
    misfit,
    on_simplex,
    profile,
    slope_through_projection,
)
from course_lib.metrics import align, kernel_similarity
from course_lib.operators import Blur, BlurEach, gaussian_kernel, motion_kernel
from course_lib.rng import generator_from, normal_like
from course_lib.solvers import accelerated_gradient

F64 = torch.float64
SIZE = (1, 12, 11)  # odd and even, not square
SIGMA, LEVEL = 0.05, 0.05  # of the noise in y; of the law that the denoiser knows
WORLD = power_law(SIZE)
TV = SmoothedTV(3.0, 0.02)
SIGNAL = (1, 1, 24)  # a signal is an image of one row


def kernels(n=3, size=(3, 5), seed=1):
    return (
        torch.rand(n, 1, *size, generator=generator_from(seed), dtype=F64)
        .flatten(1)
        .softmax(1)
        .view(n, 1, *size)
    )


@pytest.fixture
def images():
    return WORLD.sample(3, generator=generator_from(2))


@pytest.fixture
def blurred(images):
    y = BlurEach(kernels(), SIZE).A(images)
    return y + SIGMA * normal_like(y, generator_from(3))


def spectrum(kernel, size=SIZE):
    """|h^|^2 on the half grid."""
    return Blur(kernel, size).gain


def exact_image(kernel, y, law=None):
    """The minimiser over x for the Gaussian law at noise level LEVEL: a Wiener filter."""
    law = WORLD.spectrum + LEVEL**2 if law is None else law
    op = Blur(kernel, SIZE)
    gain = op.transfer.conj() * law / (op.gain * law + SIGMA**2)
    return 0.5 + torch.fft.irfft2(gain * torch.fft.rfft2(y - 0.5), s=SIZE[1:])


def exact_profile(kernel, y):
    """min over x of F, without what does not depend on h: a sum over frequencies."""
    law = WORLD.spectrum + LEVEL**2
    energy = squared_modulus(torch.fft.rfft2(y - 0.5)) / math.prod(SIZE)
    weights = half_spectrum_weights(SIZE[1:])
    terms = weights * energy * SIGMA**2 / (spectrum(kernel) * law + SIGMA**2)
    return terms.flatten(1).sum(1) / 2


# ------------------------------------------------------------------ the image, given the kernel


@pytest.mark.parametrize("method", ["gradient", "proximal"])
@pytest.mark.parametrize("momentum", [True, False])
def test_the_image_of_a_gaussian_law_is_wieners(blurred, method, momentum):
    kernel = kernels(1)
    found = deconvolve(
        WORLD,
        blurred,
        kernel,
        sigma=SIGMA,
        denoiser_sigma=LEVEL,
        n_iter=3000,
        rtol=1e-13,
        image_step=method,
        momentum=momentum,
    )
    # The last steps are 1e-13 of the image; what is still missing is at most 100 times that.
    torch.testing.assert_close(found.x, exact_image(kernel, blurred), rtol=0, atol=1e-10)
    if not momentum:
        assert (found.history["objective"].diff(dim=0) <= 1e-13).all()  # no step goes up


@pytest.mark.parametrize("method", ["gradient", "proximal"])
def test_the_image_of_total_variation_is_that_of_accelerated_gradients(blurred, method):
    kernel = kernels(1)
    found = deconvolve(TV, blurred, kernel, sigma=SIGMA, n_iter=4000, rtol=1e-12, image_step=method)
    f = LeastSquares(Blur(kernel, SIZE), blurred) + SmoothedTV(SIGMA**2 * TV.lam, TV.eps)
    reference = accelerated_gradient(f, blurred, max_iter=2000, rtol=1e-10)
    torch.testing.assert_close(found.x, reference.x, rtol=0, atol=1e-7)
    torch.testing.assert_close(found.history["objective"][-1], f(reference.x))


def test_a_proximal_step_with_a_denoiser_starts_from_what_it_sees(blurred):
    op = BlurEach(kernels(), SIZE)
    step = ImageStep(DenoiserPotential(WORLD, LEVEL), blurred, SIGMA, "proximal")
    weight = (LEVEL / SIGMA) ** 2
    expected = op.prox_l2(WORLD(blurred, LEVEL), blurred, weight)
    torch.testing.assert_close(step(op, blurred), expected)


def test_the_curvature_of_a_law_with_noise_is_bounded():
    """Also of one that is not convex: between two centres the Hessian has a negative eigenvalue."""
    centres = torch.zeros(2, 1, 1, 3, dtype=F64)
    centres[1, ..., 0] = 4 * LEVEL
    q = DenoiserPotential(EmpiricalMixture(centres), LEVEL)
    middle = centres.mean(0, keepdim=True)
    hessian = torch.autograd.functional.hessian(lambda x: q.value(x).sum(), middle).view(3, 3)
    values = torch.linalg.eigvalsh(hessian)
    assert values[0] < 0
    assert values[-1] <= q.lipschitz * (1 + 1e-12)
    found = curvature(q, middle.expand(1, -1, -1, -1), torch.ones(1, 1, 1, 3, dtype=F64))
    torch.testing.assert_close(found.flatten(), hessian.sum(1))


# ------------------------------------------------------------------ the kernel, given the image


def test_the_gradient_with_respect_to_the_kernel(images, blurred):
    """Up to a multiple of 1, which the simplex does not see; and as autograd has it."""
    f, h = KernelMisfit(images, blurred, (3, 5), ridge=0.3), kernels(seed=5).requires_grad_()
    value = misfit(BlurEach(h, SIZE), images, blurred) + 0.15 * h.square().sum((1, 2, 3))
    torch.testing.assert_close(f(h), value)
    (slope,) = torch.autograd.grad(value.sum(), h)
    centred = [g - g.mean((1, 2, 3), keepdim=True) for g in (f.grad(h.detach()), slope)]
    torch.testing.assert_close(*centred)


def test_the_bound_on_the_curvature_along_the_simplex(images, blurred):
    """Against the dense Gram matrix of the translates of x, on directions of sum 0."""
    f = KernelMisfit(images, blurred, (3, 5))
    shifts = [(a - 1, b - 2) for a in range(3) for b in range(5)]
    for i, x in enumerate(images):
        columns = torch.stack([x.roll(s, (-2, -1)).flatten() for s in shifts])
        columns = columns - columns.mean(0)  # projects on sum 0
        largest = torch.linalg.eigvalsh(columns @ columns.T).max()
        assert largest <= f.lipschitz[i] * (1 + 1e-12)
        assert largest >= 0.4 * f.lipschitz[i]  # a bound that is of use


@pytest.mark.parametrize("method", ["projected", "through_projection"])
def test_the_kernel_of_a_known_image_is_found(method):
    """Without noise, 15 taps and 132 pixels: least squares have one answer, the true kernel."""
    white = torch.rand(3, *SIZE, generator=generator_from(15), dtype=F64)
    h = kernels()
    f = KernelMisfit(white, BlurEach(h, SIZE).A(white), (3, 5))
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
    f = KernelMisfit(images, BlurEach(h, SIZE).A(images), (3, 5))
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


# ------------------------------------------------------------------ Proposition 1


def test_proposition_1_in_the_gaussian_world(blurred):
    """phi(h) = min over x of F is a sum over frequencies, least where |h^| = 1: at the identity."""
    identity = torch.ones(1, 1, 1, 1, dtype=F64)
    least = exact_profile(identity, blurred)
    for seed in range(200):
        h = torch.randn(1, 15, generator=generator_from(seed), dtype=F64) * (1 + seed % 5)
        assert (exact_profile(h.softmax(1).view(1, 1, 3, 5), blurred) > least).all()
    curve = [exact_profile(heat(t), blurred) for t in (0, 0.2, 0.5, 1, 2, 4)]
    assert (torch.stack(curve).diff(dim=0) > 0).all()


def test_the_exact_profile_is_the_minimum_over_images(blurred):
    for h in kernels():
        x = exact_image(h[None], blurred)
        q = WORLD.potential(x, LEVEL)
        constant = (
            half_spectrum_weights(SIZE[1:]) * (2 * math.pi * (WORLD.spectrum + LEVEL**2)).log()
        ).sum() / 2
        value = misfit(Blur(h[None], SIZE), x, blurred) + SIGMA**2 * (q - constant)
        torch.testing.assert_close(value, exact_profile(h[None], blurred))


@pytest.mark.parametrize("q", [TV, DenoiserPotential(WORLD, LEVEL)], ids=["tv", "gaussian"])
def test_the_identity_with_the_blurred_image_is_never_worse(q, images, blurred):
    """The proof of Proposition 1, pair by pair: F(h * x, identity) <= F(x, h)."""
    value = q.value if isinstance(q, DenoiserPotential) else q
    for seed in range(50):
        op = BlurEach(kernels(seed=seed), SIZE)
        x = images + 0.2 * torch.randn(3, *SIZE, generator=generator_from(seed), dtype=F64)
        pair = misfit(op, x, blurred) + SIGMA**2 * value(x)
        h_x = op.A(x)
        trivial = (h_x - blurred).square().sum((1, 2, 3)) / 2 + SIGMA**2 * value(h_x)
        assert (trivial <= pair + 1e-12).all()


def test_a_profile_from_gradients_brackets_the_exact_one(blurred):
    thetas = [0.3 + 0.05 * k for k in range(25)]
    found = profile(
        WORLD,
        blurred,
        lambda t: gaussian_kernel(t, 9, F64),
        thetas,
        sigma=SIGMA,
        denoiser_sigma=LEVEL,
        n_iter=100,
        rtol=1e-9,
    )
    exact = torch.stack([exact_profile(gaussian_kernel(t, 9, F64), blurred) for t in thetas])
    exact = exact - exact[0]
    assert (found.lower <= exact + 1e-10).all()
    assert (found.upper >= exact - 1e-10).all()
    # Steps of 0.05 pixels: of the second order in them, near the end where the kernel is narrow.
    torch.testing.assert_close(found.change, exact, rtol=0.02, atol=1e-6)


def test_convex_invariant_priors_have_no_favourable_minimum(blurred):
    """h_theta' = h_theta * g: the profile rises all along, past the true width as elsewhere."""
    thetas = [0.4 * k for k in range(6)]
    options = {"sigma": SIGMA, "n_iter": 300, "rtol": 1e-8}
    found = profile(TV, blurred, heat, thetas, **options)
    values = [
        misfit(Blur(heat(theta), SIZE), x, blurred) + SIGMA**2 * TV(x)
        for theta, x in zip(thetas, found.x, strict=True)
    ]
    assert (torch.stack(values).diff(dim=0) > 0).all()


def heat(t):
    """The kernel exp(t Laplacian), >= 0, a semigroup."""
    rows, columns = (torch.fft.fftfreq(n, dtype=F64) for n in SIZE[1:])
    symbol = 4 * (math.pi * rows[:, None]).sin() ** 2 + 4 * (math.pi * columns).sin() ** 2
    around_zero = torch.fft.ifft2((-t * symbol).exp()).real.clamp(min=0)
    return torch.fft.fftshift(around_zero)[None, None]


# ------------------------------------------------------------------ Theorem 1


@pytest.fixture
def favourable():
    """A signal that is a critical point of a law with three centres, a kernel, y without noise."""
    centres = torch.rand(3, *SIGNAL, generator=generator_from(6), dtype=F64)
    q = DenoiserPotential(EmpiricalMixture(centres), 0.1)
    x = centres[:1]
    for _ in range(200):
        x = q.denoiser(x, q.sigma)  # descent with the longest step: its limit has gradient 0
    assert q.grad(x).abs().max() < 1e-12
    kernel = torch.tensor([[[[0.1, 0.4, 0.3, 0.15, 0.05]]]], dtype=F64)
    return q, x, kernel, Blur(kernel, SIGNAL).A(x)


def dense(hessian):
    return torch.stack([hessian.packed(v) for v in torch.eye(hessian.size, dtype=F64)])


def objective(q, x, kernel, basis, y):
    """F as a function of one vector, written anew."""

    def F(v):
        image = v[: x.numel()].view_as(x)
        h = kernel + torch.tensordot(v[x.numel() :], basis, dims=1)[None]
        return misfit(Blur(h, tuple(x.shape[1:])), image, y).sum() + SIGMA**2 * q.value(image).sum()

    return F


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_joint_hessian_is_that_of_autograd(favourable, noise):
    q, x, kernel, y = favourable
    y = y + noise * normal_like(y, generator_from(7))  # with a residual, too
    basis = 2 * face_basis(kernel)  # of another length
    hessian = JointHessian(q, x, kernel, y, SIGMA, basis, ridge=10 * noise)
    data = objective(q, x, kernel, basis, y)

    def F(v):
        h = kernel + torch.tensordot(v[x.numel() :], basis, dims=1)[None]
        return data(v) + 5 * noise * h.square().sum()

    at = torch.cat([x.flatten(), torch.zeros(len(hessian.basis), dtype=F64)])
    expected = torch.autograd.functional.hessian(F, at)
    torch.testing.assert_close(dense(hessian), expected, rtol=0, atol=1e-10)


def test_the_hessian_is_positive_and_lanczos_finds_its_lower_end(favourable):
    hessian = JointHessian(*favourable, SIGMA)
    values = torch.linalg.eigvalsh(dense(hessian))
    assert values[0] > 1e-4
    found, vectors = hessian.smallest(3, rtol=1e-10)
    torch.testing.assert_close(found, values[:3], rtol=1e-8, atol=0)
    for value, v in zip(found, vectors, strict=True):
        torch.testing.assert_close(hessian.packed(v), value * v, rtol=0, atol=1e-8)


def test_the_conditions_of_theorem_1(favourable):
    """Where the quadratic form |H dx + J dc|^2 + sigma^2 <dx, Q dx> has a null direction."""
    q, x, kernel, y = favourable
    flat = SmoothedTV(0.0, 1.0)  # Q = 0: nothing holds H dx + J dc = 0
    assert abs(torch.linalg.eigvalsh(dense(JointHessian(flat, x, kernel, y, SIGMA)))[0]) < 1e-12
    constant = torch.full_like(x, 0.4)  # J = 0: no kernel changes a constant image (erratum E7)
    hessian = JointHessian(SmoothedTV(1.0, 0.1), constant, kernel, constant, SIGMA)
    assert torch.linalg.eigvalsh(dense(hessian))[:3].abs().max() < 1e-12
    kernel = torch.tensor([[[[0.1, 0.5, 0.3, 0.1, 0.0]]]], dtype=F64)
    every_tap = torch.eye(5, dtype=F64).view(5, 1, 1, 5)
    jacobian = torch.autograd.functional.jacobian(lambda v: on_simplex(v), kernel).view(5, 5)
    through = JointHessian(
        q, x, kernel, y, SIGMA, (jacobian.T @ every_tap.flatten(1)).view_as(every_tap)
    )
    values = torch.linalg.eigvalsh(dense(through))
    assert values[:2].abs().max() < 1e-12  # 1 and the tap at 0: erratum E6
    assert values[2] > 1e-4


def newton(q, x, kernel, basis, y):
    """The minimiser near (x, 0), with dense Hessians of autograd."""
    F, v = objective(q, x, kernel, basis, y), torch.cat([x.flatten(), x.new_zeros(len(basis))])
    for _ in range(20):
        slope = torch.autograd.functional.jacobian(F, v)
        v = v - torch.linalg.solve(torch.autograd.functional.hessian(F, v), slope)
    assert slope.norm() < 1e-12
    return v - torch.cat([x.flatten(), x.new_zeros(len(basis))])


def test_the_solution_answers_linearly_to_noise(favourable):
    q, x, kernel, y = favourable
    hessian = JointHessian(q, x, kernel, y, SIGMA)
    b = normal_like(y, generator_from(8))
    dx, dh = hessian.response(b, rtol=1e-12)
    predicted = torch.cat([dx.flatten(), hessian.basis.flatten(1) @ dh.flatten()])
    exact = torch.linalg.solve(
        dense(hessian), torch.cat([hessian.op.A_adjoint(b).flatten(), hessian.pull(x, b)])
    )
    torch.testing.assert_close(predicted, exact, rtol=0, atol=1e-9)
    remainders = []
    for size in (1e-3, 1e-4, 1e-5):
        moved = newton(q, x, kernel, hessian.basis, y + size * b)
        slope = moved.norm() / size
        assert slope == pytest.approx(predicted.norm().item(), rel=0.05)
        remainders.append((moved - size * predicted).norm() / size**2)
    assert max(remainders) < 1.3 * min(remainders)  # of second order


def test_the_algorithm_finds_the_favourable_minimum(favourable):
    """From the true kernel, with a little noise: it ends where Newton's method does."""
    q, x, kernel, y = favourable
    y = y + 1e-3 * normal_like(y, generator_from(9))
    basis = face_basis(kernel)
    found = blind_deconvolution(
        q,
        y,
        (1, 5),
        kernel,
        sigma=SIGMA,
        n_outer=100,
        n_inner=1,
        restart=None,
        image_step="proximal",
        kernel_update="through_projection",
        kernel_steps=5,
        momentum=True,
    )
    moved = newton(q, x, kernel, basis, y)
    dh = (found.kernel - kernel).flatten()
    torch.testing.assert_close(basis.flatten(1) @ dh, moved[x.numel() :], rtol=1e-3, atol=1e-7)
    torch.testing.assert_close((found.x - x).flatten(), moved[: x.numel()], rtol=1e-3, atol=1e-6)


def test_the_basis_of_a_face():
    kernel = torch.tensor([[0.5, 0.0, 0.2], [0.3, 0.0, 0.0]], dtype=F64)[None, None]
    basis = face_basis(kernel).flatten(1)
    assert basis.shape == (2, 6)
    torch.testing.assert_close(basis @ basis.T, torch.eye(2, dtype=F64))
    assert basis.sum(1).abs().max() < 1e-15
    assert (basis[:, kernel.flatten() == 0] == 0).all()
    assert face_basis(torch.ones(1, 1, 1, 1)).shape == (0, 1, 1, 1)


# ------------------------------------------------------------------ the algorithm


@pytest.fixture
def three():
    """Three images that a law knows by heart, among 20, blurred by three kernels of 5 x 5."""
    g = generator_from(10)
    smooth = Blur(gaussian_kernel(1.0, 5, F64), (1, 16, 16))
    centres = (smooth.A(torch.randn(20, 1, 16, 16, generator=g, dtype=F64)) > 0).double()
    h = torch.cat(
        [gaussian_kernel(0.9, 5, F64), motion_kernel(4.0, 0.5, 5, F64), kernels(1, (5, 5))]
    )
    y = BlurEach(h, (1, 16, 16)).A(centres[:3])
    return EmpiricalMixture(centres), centres[:3], h, y + 0.01 * normal_like(y, g)


FAST = {"image_step": "proximal", "momentum": True, "n_inner": 1, "kernel_steps": 10}
OPTIONS = {"sigma": 0.01, "denoiser_sigma": 0.1, "n_outer": 60, "restart": None}


def test_no_turn_raises_the_objective_and_restarts_do(three):
    law, _, _, y = three
    plain = blind_deconvolution(law, y, 5, **OPTIONS, n_inner=3)
    assert (plain.history["objective"].diff(dim=0) <= 1e-10).all()
    again = blind_deconvolution(law, y, 5, **(OPTIONS | {"restart": 25}), n_inner=3)
    rises = (again.history["objective"].diff(dim=0) > 1e-10).any(1).nonzero().squeeze(1)
    assert set(rises.tolist()) <= {24, 49}  # from row 24 to row 25 the image started from y
    assert len(rises)


@pytest.mark.parametrize("update", ["projected", "through_projection"])
@pytest.mark.parametrize("fast", [True, False])
def test_a_batch_is_a_loop(three, update, fast):
    law, _, _, y = three
    options = OPTIONS | {"n_outer": 8, "restart": 5, "kernel_update": update}
    options |= FAST if fast else {"n_inner": 2}
    together = blind_deconvolution(law, y, (5, 3), **options)
    for i in range(3):
        alone = blind_deconvolution(law, y[i : i + 1], (5, 3), **options)
        # Transforms of a batch round in another order.
        torch.testing.assert_close(together.x[i], alone.x[0], rtol=0, atol=1e-10)
        torch.testing.assert_close(together.kernel[i], alone.kernel[0], rtol=0, atol=1e-10)


def test_a_wide_start_finds_the_image_and_its_kernel(three):
    law, x, h, y = three
    found = blind_deconvolution(law, y, 5, **OPTIONS, **FAST)
    assert (kernel_similarity(found.kernel, h) > 0.95).all()
    before = (y - x).square().mean((1, 2, 3))
    assert ((align(found.x, x) - x).square().mean((1, 2, 3)) < before / 4).all()


def test_the_fast_algorithm_reaches_the_objective_of_the_plain_one(three):
    """With a third of the evaluations, and it does not stop there."""
    law, _, _, y = three
    plain = blind_deconvolution(law, y, 5, **(OPTIONS | {"n_outer": 40}), n_inner=10)
    fast = blind_deconvolution(law, y, 5, **(OPTIONS | {"n_outer": 133}), **FAST)
    assert 3 * fast.evaluations < plain.evaluations
    assert (fast.history["objective"][-1] < plain.history["objective"][-1]).all()


def test_a_fixed_point_is_one_for_all_variants(favourable):
    """At the minimum neither step nor momentum moves anything."""
    q, x, kernel, y = favourable
    for step in ("gradient", "proximal"):
        for update in ("projected", "through_projection"):
            found = blind_deconvolution(
                q,
                y,
                (1, 5),
                kernel,
                sigma=SIGMA,
                n_outer=3,
                restart=None,
                image_step=step,
                kernel_update=update,
                momentum=True,
                n_inner=40,
            )
            torch.testing.assert_close(found.x, x, rtol=0, atol=1e-6)
            torch.testing.assert_close(found.kernel, kernel, rtol=0, atol=1e-6)


def test_translations_move_the_answer_and_nothing_else(images):
    """q does not see a translation: (T_s x, T_-s h) fits as well, and T_s y is answered T_s x."""
    h = torch.zeros(1, 1, 7, 7, dtype=F64)
    h[..., 2:5, 2:5] = kernels(1, (3, 3))
    shifted = h.roll((1, -2), (-2, -1))
    for q in (TV, DenoiserPotential(WORLD, LEVEL).value):
        one = misfit(Blur(h, SIZE), images, images) + q(images)
        back = images.roll((-1, 2), (-2, -1))
        two = misfit(Blur(shifted, SIZE), back, images) + q(back)
        torch.testing.assert_close(one, two)
    found, moved = (
        blind_deconvolution(TV, y, 5, sigma=SIGMA, n_outer=5)
        for y in (images, images.roll((3, 4), (-2, -1)))
    )
    torch.testing.assert_close(moved.x, found.x.roll((3, 4), (-2, -1)), rtol=0, atol=1e-10)
    torch.testing.assert_close(moved.kernel, found.kernel, rtol=0, atol=1e-10)


def test_snapshots_and_histories(blurred):
    found = blind_deconvolution(
        TV, blurred, 3, sigma=SIGMA, n_outer=6, n_inner=2, snapshots=(0, 2, 6)
    )
    assert [s.iteration for s in found.snapshots] == [0, 2, 6]
    assert torch.equal(found.snapshots[0].x, blurred)
    assert torch.equal(found.snapshots[-1].kernel, found.kernel)
    assert found.history["objective"].shape == (6, 3)
    assert found.evaluations == 12
    assert found.status == "max_iter"
    unknown = blind_deconvolution(lambda x, s: x, blurred, 3, sigma=SIGMA, n_outer=2)
    assert set(unknown.history) == {"misfit", "kernel_change"}  # a denoiser has no value of q


def test_stages_are_runs_one_after_the_other(three):
    """Each from the kernel of the last and from y; counts and histories go on."""
    law, _, _, y = three
    stages = [Stage(0.2, 0.5, 4), Stage(0.1, 0.0, 3)]
    options = {"sigma": 0.01, "n_inner": 2, "restart": None}
    found = coarse_to_fine(law, y, 5, stages, "flat", snapshots=(0, 2, 4, 5, 7), **options)
    one = blind_deconvolution(
        law, y, 5, "flat", denoiser_sigma=0.2, kernel_ridge=0.5, n_outer=4, **options
    )
    two = blind_deconvolution(law, y, 5, one.kernel, denoiser_sigma=0.1, n_outer=3, **options)
    assert torch.equal(found.x, two.x)
    assert torch.equal(found.kernel, two.kernel)
    assert torch.equal(
        found.history["misfit"], torch.cat([one.history["misfit"], two.history["misfit"]])
    )
    assert (found.iterations, found.evaluations) == (7, 14)
    assert [s.iteration for s in found.snapshots] == [0, 2, 4, 5, 7]
    assert torch.equal(found.snapshots[2].kernel, one.kernel)
    assert torch.equal(found.snapshots[4].kernel, two.kernel)
    with pytest.raises(ValueError, match="at least one stage"):
        coarse_to_fine(law, y, 5, [], **options)
    with pytest.raises(ValueError, match="the stages set denoiser_sigma, n_outer"):
        coarse_to_fine(law, y, 5, stages, denoiser_sigma=0.1, n_outer=3, **options)


def test_colours_share_a_kernel():
    g = generator_from(11)
    x = torch.rand(1, 3, 10, 10, generator=g, dtype=F64)
    h = kernels(1, (3, 3))
    f = KernelMisfit(x, Blur(h, (3, 10, 10)).A(x), (3, 3))
    torch.testing.assert_close(f.grad(h), torch.zeros_like(h), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [21, 31])
def test_large_kernels(size):
    y = torch.rand(1, 1, 32, 32, generator=generator_from(12))
    found = blind_deconvolution(TV, y, size, "flat", sigma=SIGMA, n_outer=3, n_inner=2)
    assert found.kernel.shape == (1, 1, size, size)
    assert found.kernel.sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, r"expected odd sides of the kernel.*got \(4, 4\)"),
        ({"kernel_size": 13}, "kernels of 13 x 13 are larger than the images, 12 x 11"),
        ({"init": "dirac"}, "init must be 'wide', 'flat', 'narrow' or kernels, got 'dirac'"),
        ({"init": torch.ones(1, 1, 5, 5)}, r"expected first kernels of shape \(3, 1, 3, 3\)"),
        ({"sigma": 0.0}, "sigma is the standard deviation of the noise in y"),
        ({"n_outer": 0}, "n_outer must be at least 1, got 0"),
        ({"restart": 0}, "For no restarts give None"),
        ({"image_step": "newton"}, "image_step must be 'gradient' or 'proximal'"),
        ({"kernel_update": "newton"}, "kernel_update must be 'projected' or"),
        ({"kernel_step_size": -1.0}, "kernel_step_size must be positive"),
        ({"kernel_ridge": -0.1}, "kernel_ridge must be finite and not negative, got -0.1"),
    ],
)
def test_bad_input(blurred, options, message):
    with pytest.raises(ValueError, match=message):
        blind_deconvolution(TV, blurred, **({"kernel_size": 3, "sigma": SIGMA} | options))


def test_a_measurement_that_is_not_finite():
    with pytest.raises(ValueError, match="y holds NaN"):
        deconvolve(TV, torch.full((1, *SIZE), math.nan), kernels(1).float(), sigma=SIGMA)
    with pytest.raises(ValueError, match="must be positive, got 0"):
        DenoiserPotential(WORLD, 0.0)
    with pytest.raises(ValueError, match="a curve needs two thetas"):
        profile(TV, torch.rand(1, *SIZE), gaussian_kernel, [1.0], sigma=SIGMA)


# ------------------------------------------------------------------ Richardson and Lucy


def test_the_image_of_richardson_and_lucy_is_scikit_images():
    """Theirs is not periodic: on a tiling of 3 x 3 the middle does not feel the border."""
    x = torch.rand(1, 1, 16, 16, generator=generator_from(13), dtype=F64) + 0.1
    h = kernels(1, (3, 3))
    y = Blur(h, (1, 16, 16)).A(x)
    start = torch.zeros(1, 1, 3, 3, dtype=F64)
    start[..., 1, 1] = 1
    ours = blind_richardson_lucy(y, 3, start, n_outer=1, n_inner=4)  # the identity stays itself
    theirs = richardson_lucy(
        np.tile(y[0, 0].numpy(), (3, 3)), start[0, 0].numpy(), num_iter=4, clip=False
    )
    torch.testing.assert_close(
        ours.x[0, 0], torch.from_numpy(theirs[16:32, 16:32]), rtol=0, atol=1e-8
    )


def test_richardson_and_lucy_conserve_light_and_never_lose_likelihood():
    x = torch.rand(2, 1, 16, 16, generator=generator_from(14), dtype=F64)
    y = BlurEach(kernels(2, (5, 5)), (1, 16, 16)).A(x)
    found = blind_richardson_lucy(y, 5, n_outer=8, n_inner=3)
    torch.testing.assert_close(found.x.sum((1, 2, 3)), y.sum((1, 2, 3)))
    torch.testing.assert_close(found.kernel.sum((1, 2, 3)), torch.ones(2, dtype=F64))
    assert (found.kernel >= 0).all()
    assert (found.history["kl"].diff(dim=0) <= 1e-12).all()
    with pytest.raises(ValueError, match=r"cannot be negative.*Use y.clamp\(min=0\)"):
        blind_richardson_lucy(-y, 5)
