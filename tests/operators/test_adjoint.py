"""What every linear operator promises, before one asks which operator it is."""

import pytest
import torch
from torch.autograd import gradcheck
from torch.autograd.functional import vjp

from course_lib.operators import (
    Blur,
    CompressedSensing,
    Denoising,
    Downsampling,
    Inpainting,
    Tomography,
)

EPS = torch.finfo(torch.float64).eps
CHANNELWISE = (Blur, Denoising, Downsampling, Inpainting, Tomography)


def images(op, generator, batch=(4,), dtype=torch.float64):
    return torch.randn(*batch, *op.img_size, generator=generator, dtype=dtype)


def measurements(op, generator, batch=(4,), dtype=torch.float64):
    return torch.randn(*batch, *op.measurement_size, generator=generator, dtype=dtype)


def test_adjoint_identity(op, generator):
    """<A x, y> = <x, A^T y>, up to rounding on the scale |A x| |y| (STYLE, "What was measured")."""
    for _ in range(10):
        x, y = images(op, generator), measurements(op, generator)
        gap = ((op.A(x) * y).sum() - (x * op.A_adjoint(y)).sum()).abs()
        scale = op.A(x).norm() * y.norm()
        assert gap <= 10 * EPS * scale
        assert gap <= 1e-12 * scale


def test_adjoint_is_the_transposed_matrix(op, dense):
    """Entry by entry, which the scalar identity on a few draws only shows on average."""
    A, At = dense(op.A, op.img_size), dense(op.A_adjoint, op.measurement_size)
    assert (A.T - At).abs().max() <= 10 * EPS * A.abs().max()  # rounding of one FFT


def test_adjoint_is_what_autograd_finds(op, generator):
    x, v = images(op, generator), measurements(op, generator)
    _, expected = vjp(op.A, x, v)
    # Both are exact; what is left is rounding in two orders of summation.
    assert (op.A_vjp(x, v) - expected).norm() <= 10 * EPS * expected.norm()
    assert torch.equal(op.A_vjp(x, v), op.A_adjoint(v))


def test_linearity(op, generator):
    x, y = images(op, generator), images(op, generator)
    mixed = op.A(2 * x - 3 * y)
    assert (mixed - 2 * op.A(x) + 3 * op.A(y)).norm() <= 10 * EPS * (
        op.A(x).norm() + op.A(y).norm()
    )


@pytest.mark.slow
@pytest.mark.parametrize("batch", [(), (1,), (2, 3)])
def test_every_method_treats_each_image_of_any_batch_alone(op, generator, batch):
    x, y = images(op, generator, batch), measurements(op, generator, batch)
    for method, arguments in (
        (op.A, (x,)),
        (op.A_adjoint, (y,)),
        (op.A_vjp, (x, y)),
        (op.A_dagger, (y,)),
        (lambda z, v: op.prox_l2(z, v, 0.7), (x, y)),
    ):
        together = method(*arguments)
        size = op.measurement_size if method == op.A else op.img_size
        assert together.shape == (*batch, *size)
        flat = zip(*(a.reshape(-1, *a.shape[len(batch) :]) for a in arguments), strict=True)
        alone = torch.stack([method(*one) for one in flat])
        # FFTs and matrix products may sum in another order for another batch; 1e-10 is the
        # tolerance of the conjugate gradients, which do not iterate equally often in a batch.
        assert torch.allclose(together.reshape(alone.shape), alone, rtol=1e-10, atol=1e-10)


def test_channels_do_not_mix(op, generator):
    if not isinstance(op, CHANNELWISE) or op.img_size[0] == 1:
        pytest.skip("one channel, or an operator that sees the image as one vector")
    x = images(op, generator)
    changed = x.clone()
    changed[:, 0] += 1
    difference = op.A(changed) - op.A(x)
    assert torch.equal(difference[:, 1:], torch.zeros_like(difference[:, 1:]))
    assert difference[:, 0].abs().max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("op_dtype", [torch.float32, torch.float64])
def test_the_precision_of_the_image_is_kept(build_op, generator, dtype, op_dtype):
    """Also when the operator was built in the other one, as happens with float32 defaults."""
    op = build_op(op_dtype)
    x, y = images(op, generator, dtype=dtype), measurements(op, generator, dtype=dtype)
    assert op.A(x).dtype == dtype
    assert op.A_adjoint(y).dtype == dtype
    assert op.A_vjp(x, y).dtype == dtype
    assert op.A_dagger(y).dtype == dtype
    assert op.prox_l2(x, y, 0.7).dtype == dtype


def test_single_precision_agrees_with_double(build_op, generator):
    """Single precision changes the digits, not the answer: 1e-4 is a thousand eps of float32."""
    single, double = build_op(torch.float32), build_op(torch.float64)
    if isinstance(single, CompressedSensing) and single.rows == "gaussian":
        pytest.skip("torch draws other normal numbers in single precision: another matrix")
    x, y = images(double, generator), measurements(double, generator)
    y = double.A(double.A_adjoint(y))  # in the range, where a pseudo-inverse is stable
    for f, reference in (
        (single.A(x.float()), double.A(x)),
        (single.A_adjoint(y.float()), double.A_adjoint(y)),
        (single.prox_l2(x.float(), y.float(), 2.0), double.prox_l2(x, y, 2.0)),
    ):
        assert (f.double() - reference).norm() <= 1e-4 * reference.norm()
    reference = double.A_dagger(y)
    # The pseudo-inverse multiplies eps by the condition number of A^T A, up to 1e6 for tomography.
    assert (single.A_dagger(y.float()).double() - reference).norm() <= 1e-2 * reference.norm()
    assert single.norm() == pytest.approx(double.norm(), rel=1e-5)


def test_gradients_flow_through_every_method(closed_form_op, generator):
    """Unrolled methods differentiate A, A^T, A^+ and prox; finite differences are the judge."""
    op = closed_form_op
    x = images(op, generator, (1,)).requires_grad_()
    y = measurements(op, generator, (1,)).requires_grad_()
    fast = {"fast_mode": True}  # one random direction; gradcheck's own default tolerances
    assert gradcheck(op.A, x, **fast)
    assert gradcheck(op.A_adjoint, y, **fast)
    assert gradcheck(op.A_dagger, y, **fast)
    assert gradcheck(lambda z, v: op.prox_l2(z, v, 0.7), (x, y), **fast)


def test_gradients_flow_through_conjugate_gradients(op, generator):
    """prox_l2 is linear in z with a symmetric matrix, so its vjp is the same map applied to v."""
    z = images(op, generator, (2,)).requires_grad_()
    y = measurements(op, generator, (2,))
    v = images(op, generator, (2,))
    (found,) = torch.autograd.grad(op.prox_l2(z, y, 0.7), z, v)
    expected = op.prox_l2(v, torch.zeros_like(y), 0.7)
    # 1e-9: the iteration stops at a relative residual of 1e-12, its derivative a few digits later.
    assert (found - expected).norm() <= 1e-9 * expected.norm()


def test_views_and_strided_memory_are_as_good_as_copies(op, generator):
    x, y = images(op, generator), measurements(op, generator)
    strided_x = x.movedim(0, -1).contiguous().movedim(-1, 0)
    strided_y = y.movedim(0, -1).contiguous().movedim(-1, 0)
    assert torch.allclose(op.A(strided_x), op.A(x), rtol=0, atol=1e-12)
    assert torch.allclose(op.A_adjoint(strided_y), op.A_adjoint(y), rtol=0, atol=1e-12)
    assert torch.allclose(op.A_dagger(strided_y), op.A_dagger(y), rtol=1e-10, atol=1e-10)


def test_inputs_are_never_changed(op, generator):
    x, y = images(op, generator), measurements(op, generator)
    kept_x, kept_y = x.clone(), y.clone()
    op.A(x), op.A_adjoint(y), op.A_dagger(y), op.prox_l2(x, y, 0.7)
    assert torch.equal(x, kept_x)
    assert torch.equal(y, kept_y)
