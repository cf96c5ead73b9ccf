"""A measurement with a derivative: autograd through A by the operator's own A_vjp."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from course_lib.operators.base import Operator


def measure(op: Operator, x: Tensor) -> Tensor:
    """A(x), whose gradient with respect to x is op.A_vjp: operators need no autograd.

    The gradient is not differentiable again.

    Args:
        op: any operator, linear or not.
        x: images (*batch, *op.img_size).

    Raises:
        RuntimeError: when it is differentiated twice.
    """
    return _Measurement.apply(x, op)


class _Measurement(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, op: Operator) -> Tensor:
        ctx.op = op
        ctx.save_for_backward(x)
        return op.A(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return ctx.op.A_vjp(x, v), None
