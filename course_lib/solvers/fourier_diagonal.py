"""What the closed forms of operators that are diagonal in the Fourier basis share."""

import torch
from torch import Tensor
from torch.fft import irfft2, rfft2

from course_lib.protocols import FourierDiagonal, Linear
from course_lib.solvers.solution import Solution


def fourier_diagonal(caller: str, op: Linear) -> Tensor:
    """The transfer function h of op, or an error that says which solver to use instead."""
    if not isinstance(op, FourierDiagonal):
        raise TypeError(
            f"{caller}: {type(op).__name__} is not diagonal in the Fourier basis, so there is no "
            "closed form. Minimise LeastSquares(op, y) + Tychonov(lam) with conjugate_gradient."
        )
    return op.transfer


def regularised_inverse(h: Tensor, y: Tensor, denominator: Tensor) -> Solution:
    """F^-1 (conj(h) F y / denominator), where the denominator is |h|^2 and a regularisation.

    At frequencies that are neither seen nor penalised, 0 / tiny = 0 is the answer of least norm.
    """
    denominator = denominator.to(y.dtype).clamp(min=torch.finfo(y.dtype).tiny)
    x = irfft2(h.conj() * rfft2(y) / denominator, s=y.shape[-2:])
    return Solution(x.to(y.dtype), "converged")
