"""Smoothed total variation: the penalty that lets edges live."""

import math
from dataclasses import dataclass

from torch import Tensor

from course_lib.finite_differences import gradient, gradient_adjoint
from course_lib.functionals.base import Functional
from course_lib.kernels.smoothed_tv import smoothed_tv_grad, smoothed_tv_value
from course_lib.kernels.twins import has_twin
from course_lib.validation import check_not_negative


@dataclass(frozen=True, eq=False)
class SmoothedTV(Functional):
    r"""R(u) = lam sum over pixels of sqrt(eps^2 + |grad u|^2), forward differences, periodic.

    |grad u| is the length of the gradient at one pixel, not its norm over the image (erratum E29);
    channels are independent. The gradient of R is 8 lam / eps-Lipschitz, exactly so on images with
    even sides, where the Hessian at constant images is lam / eps grad^T grad.

    Args:
        lam: weight >= 0.
        eps: where |grad u| is small against eps the penalty is quadratic, where it is large it is
            the length; in intensities per pixel.
    """

    lam: float
    eps: float

    def __post_init__(self) -> None:
        check_not_negative("SmoothedTV", lam=self.lam)
        if not 0 < self.eps < math.inf:
            raise ValueError(
                f"SmoothedTV: eps must be positive and finite, got {self.eps}. For exact total "
                "variation (eps = 0) use solvers.primal_dual_tv."
            )

    @has_twin(lambda self, x: self.lam * smoothed_tv_value(x, self.eps), differentiable=True)
    def __call__(self, x: Tensor) -> Tensor:
        """lam sum of sqrt(eps^2 + |grad x|^2), (B,)."""
        p = gradient(x)
        return self.lam * (self.eps**2 + p.square().sum(0)).sqrt().flatten(1).sum(1)

    @has_twin(lambda self, x: self.lam * smoothed_tv_grad(x, self.eps))
    def grad(self, x: Tensor) -> Tensor:
        """lam grad^T (grad x / sqrt(eps^2 + |grad x|^2))."""
        p = gradient(x)
        return self.lam * gradient_adjoint(p / (self.eps**2 + p.square().sum(0)).sqrt())

    @property
    def lipschitz(self) -> float:
        """8 lam / eps."""
        return 8 * self.lam / self.eps
