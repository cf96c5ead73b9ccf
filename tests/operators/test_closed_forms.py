"""Pseudo-inverse, proximal map and norm against dense linear algebra."""

from dataclasses import replace

import pytest
import torch

from course_lib.operators import (
    Composition,
    CompressedSensing,
    Downsampling,
    GaussianNoise,
    LinearOperator,
    bicubic_kernel,
)

# 1e-10 throughout is the promise of issue 2: eps times condition numbers below 1e4 on these sizes.


@pytest.fixture
def y(op, generator):
    return torch.randn(3, *op.measurement_size, generator=generator, dtype=torch.float64)


def close(a, b, tolerance):
    return (a - b).norm() <= tolerance * max(1, b.norm())


def test_dagger_is_the_pseudo_inverse(op, y, dense):
    A = dense(op.A, op.img_size)
    expected = (y.flatten(1) @ torch.linalg.pinv(A, rtol=1e-12).T).unflatten(1, op.img_size)
    assert close(op.A_dagger(y), expected, 1e-10)


@pytest.mark.parametrize("gamma", [1e-3, 0.7, 50.0])
def test_prox_solves_its_normal_equations(op, y, dense, generator, gamma):
    A = dense(op.A, op.img_size)
    z = torch.randn(3, *op.img_size, generator=generator, dtype=torch.float64)
    right = gamma * y.flatten(1) @ A + z.flatten(1)
    matrix = gamma * A.T @ A + torch.eye(len(A.T), dtype=torch.float64)
    expected = torch.linalg.solve(matrix, right.T).T.unflatten(1, op.img_size)
    assert close(op.prox_l2(z, y, gamma), expected, 1e-10)


@pytest.mark.parametrize("gamma", [1e-3, 0.7, 50.0])
def test_default_conjugate_gradients_meet_the_closed_forms(closed_form_op, generator, gamma):
    """The base class and the subclass must be two roads to one place."""
    op = closed_form_op
    y = torch.randn(3, *op.measurement_size, generator=generator, dtype=torch.float64)
    z = torch.randn(3, *op.img_size, generator=generator, dtype=torch.float64)
    assert close(LinearOperator._dagger(op, y), op.A_dagger(y), 1e-10)
    assert close(LinearOperator._prox_l2(op, z, y, gamma), op.prox_l2(z, y, gamma), 1e-10)


def test_norm_is_the_largest_singular_value(op, dense):
    largest = torch.linalg.matrix_norm(dense(op.A, op.img_size), 2).item()
    # 1e-5: the power method stops when its estimate moves by less than 1e-7 a step.
    assert op.norm() == pytest.approx(largest, rel=1e-5)


def test_closed_form_norm_is_exact(closed_form_op, dense):
    largest = torch.linalg.matrix_norm(dense(closed_form_op.A, closed_form_op.img_size), 2).item()
    assert closed_form_op.norm() == pytest.approx(largest, rel=1e-12)  # rounding of FFT and SVD


def test_power_method_meets_the_closed_form(closed_form_op):
    assert LinearOperator.norm(closed_form_op) == pytest.approx(closed_form_op.norm(), rel=1e-4)


def test_moore_penrose_identities(op, dense):
    """A A+ A = A, A+ A A+ = A+, and A+ A is the orthogonal projection on the range of A^T."""
    A, pinv = dense(op.A, op.img_size), dense(op.A_dagger, op.measurement_size)
    P = pinv @ A
    assert close(A @ P, A, 1e-10)
    assert close(P @ pinv, pinv, 1e-10)
    assert close(P @ P, P, 1e-10)
    assert close(P, P.T, 1e-10)


def test_prox_tends_to_the_measurement_fit_and_to_its_centre(closed_form_op, dense, generator):
    """gamma -> infinity from z = 0 gives A+ y, gamma -> 0 gives z."""
    op = closed_form_op
    y = op.A(torch.randn(2, *op.img_size, generator=generator, dtype=torch.float64))
    zero = torch.zeros(2, *op.img_size, dtype=torch.float64)
    expected = op.A_dagger(y)
    singular = torch.linalg.svdvals(dense(op.A, op.img_size))
    smallest = singular[singular > 1e-10].min().item()
    # Each singular direction keeps the fraction 1 / (1 + gamma s^2) of its error.
    assert close(op.prox_l2(zero, y, 1e8), expected, 1e-8 / smallest**2 + 1e-7)
    z = torch.randn(2, *op.img_size, generator=generator, dtype=torch.float64)
    assert close(op.prox_l2(z, y, 1e-16), z, 1e-10)


@pytest.mark.parametrize(("size", "s"), [((24, 20), 2), ((21, 27), 3), ((32, 40), 4)])
def test_downsampling_folds_the_spectrum(size, s, generator):
    """A A^T is a convolution on the small grid whose symbol is the mean of |k^|^2 over aliases."""
    op = Downsampling((1, *size), s, bicubic_kernel(s, torch.float64))
    y = torch.randn(2, *op.measurement_size, generator=generator, dtype=torch.float64)
    filtered = torch.fft.ifft2(op.alias_gain * torch.fft.fft2(y))
    assert (op.A(op.A_adjoint(y)) - filtered).norm() <= 1e-12 * y.norm()  # rounding


@pytest.mark.parametrize("rows", ["fourier", "hadamard"])
def test_orthonormal_rows(rows, dense, generator):
    op = CompressedSensing(20, (2, 4, 8), generator, rows, dtype=torch.float64)
    A = dense(op.A, op.img_size)
    gap = A @ A.T - torch.eye(20, dtype=torch.float64)
    assert gap.abs().max() <= 1e-14  # log2(n) roundings of eps


def test_measured_numbers_are_those_that_noise_falls_on(op, generator):
    model = GaussianNoise(0.1)
    if isinstance(op, Composition):
        noisy = replace(op, outer=replace(op.outer, noise_model=model))
    else:
        noisy = replace(op, noise_model=model)
    y = noisy(torch.zeros(op.img_size, dtype=torch.float64), generator=generator)
    assert (y != 0).sum() == op.n_measured
