"""The derivative of a measurement is the operator's own, for every operator."""

import pytest
import torch
from torch import Tensor

from course_lib.operators import CompressedSensing, Denoising, Operator, PhaseRetrieval, measure
from course_lib.rng import generator_from


class Squares(Operator):
    """A(x) = x^2, without autograd: numpy does the arithmetic."""

    img_size, noise_model = (1, 2, 3), None

    def _apply(self, x: Tensor) -> Tensor:
        return torch.from_numpy(x.detach().numpy() ** 2)

    def _vjp(self, x: Tensor, v: Tensor) -> Tensor:
        return torch.from_numpy(2 * x.detach().numpy() * v.detach().numpy())


@pytest.fixture(params=["phase", "squares"])
def nonlinear(request):
    if request.param == "squares":
        return Squares()
    return PhaseRetrieval(8, (1, 2, 3), generator_from(0), dtype=torch.float64)


def gradient(op, x, v):
    """The gradient of <measure(op, x), v>."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(measure(op, x), x, v)[0]


def draw(size, batch=(), seed=0):
    return torch.randn(*batch, *size, generator=generator_from(seed), dtype=torch.float64)


def test_gradient_is_the_transposed_matrix(op, dense):
    A = dense(op.A, op.img_size)
    x, v = draw(op.img_size, (2,)), draw(op.measurement_size, (2,), 1)
    expected = (v.flatten(1) @ A).view(x.shape)
    # Rounding of one sum, or of one FFT.
    torch.testing.assert_close(gradient(op, x, v), expected, rtol=0, atol=1e-13 * v.norm().item())


def test_gradient_against_finite_differences(nonlinear):
    op = nonlinear
    x, v, h = draw(op.img_size), draw(op.measurement_size, seed=1), 1e-4
    steps = h * torch.eye(6, dtype=torch.float64).view(6, *op.img_size)
    differences = ((op.A(x + steps) - op.A(x - steps)) * v).flatten(1).sum(1) / (2 * h)
    # Both are quadratic, so central differences are exact up to rounding, eps / h = 2e-12.
    torch.testing.assert_close(gradient(op, x, v).flatten(), differences, rtol=0, atol=1e-10)


@pytest.mark.parametrize("batch", [(), (1,), (2, 3)])
def test_any_batch(nonlinear, batch):
    op = nonlinear
    x, v = draw(op.img_size, batch), draw(op.measurement_size, batch, 1)
    torch.testing.assert_close(measure(op, x), op.A(x), rtol=0, atol=0)
    torch.testing.assert_close(gradient(op, x, v), op.A_vjp(x, v), rtol=0, atol=0)


def test_chain_rule_through_a_network_and_a_likelihood():
    op = CompressedSensing(4, (1, 2, 3), generator_from(2), dtype=torch.float64)
    layer = torch.nn.Linear(6, 6).double()
    z = draw((6,), (3,)).requires_grad_()

    def loss(A):
        return A(layer(z).tanh().view(3, 1, 2, 3)).square().sum()

    wanted = torch.autograd.grad(loss(op.A), [z, *layer.parameters()])
    found = torch.autograd.grad(loss(lambda x: measure(op, x)), [z, *layer.parameters()])
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_without_gradients_it_is_the_measurement():
    op, x = Denoising((1, 2, 3)), draw((1, 2, 3))
    assert not measure(op, x).requires_grad
    with torch.no_grad():
        assert not measure(op, x.requires_grad_()).requires_grad
    torch.testing.assert_close(gradient(op, x.detach(), 2 * x.detach()), 2 * x.detach())


def test_differentiating_twice_is_refused(nonlinear):
    x = draw(nonlinear.img_size).requires_grad_()
    slope = torch.autograd.grad(measure(nonlinear, x).square().sum(), x, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="differentiate twice"):
        slope.sum().backward()


def test_wrong_sizes_are_refused_as_by_the_operator():
    with pytest.raises(ValueError, match=r"Denoising.A\(x\): expected shape"):
        measure(Denoising((1, 2, 3)), torch.zeros(1, 3, 2))
