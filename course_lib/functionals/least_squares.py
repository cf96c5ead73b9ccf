"""The data term of white Gaussian noise, for an operator or for masks."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from course_lib.functionals.base import Functional
from course_lib.operators.base import LinearOperator, Operator
from course_lib.validation import check_measurement


@dataclass(frozen=True, eq=False)
class LeastSquares(Functional):
    """f(u) = 1/2 |A(u) - y|^2, gradient J(u)^T (A(u) - y).

    Args:
        op: any operator; for a linear one grad f is |A|^2-Lipschitz and the Hessian is A^T A.
        y: measurement, (B, *op.measurement_size).

    Raises:
        ValueError: y has the wrong shape, or holds NaN or inf.
    """

    op: Operator
    y: Tensor

    def __post_init__(self) -> None:
        check_measurement("LeastSquares", self.op, self.y)

    def __call__(self, x: Tensor) -> Tensor:
        """1/2 |A(x) - y|^2, (B,)."""
        return (self.op.A(x) - self.y).flatten(1).square().sum(1) / 2

    def grad(self, x: Tensor) -> Tensor:
        """J(x)^T (A(x) - y)."""
        return self.op.A_vjp(x, self.op.A(x) - self.y)

    def hvp(self, v: Tensor) -> Tensor:
        """A^T A v; only for a linear operator."""
        op = self._linear("hvp")
        return op.A_adjoint(op.A(v))

    @property
    def lipschitz(self) -> float:
        """|A|^2; only for a linear operator."""
        return self._linear("lipschitz").norm() ** 2

    def _linear(self, what: str) -> LinearOperator:
        if not isinstance(self.op, LinearOperator):
            raise TypeError(
                f"LeastSquares.{what}: {type(self.op).__name__} is not linear, so its Hessian "
                "depends on the image. Choose a step_size by hand."
            )
        return self.op


@dataclass(frozen=True, eq=False)
class MaskedLeastSquares(Functional):
    """f(u) = 1/2 |M (u - y)|^2, gradient M (u - y), for masks M of 0 (unknown) and 1 (known).

    `LeastSquares` with `Inpainting` is the same for one mask that all images share.

    Args:
        y: images, (B, C, H, W).
        mask: (B, 1, H, W) or (B, C, H, W).
    """

    y: Float[Tensor, "b c h w"]
    mask: Float[Tensor, "b #c h w"]
    lipschitz: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """Value of each image, (B,)."""
        return (self.mask * (x - self.y)).square().flatten(1).sum(1) / 2

    def grad(self, x: Tensor) -> Tensor:
        """Gradient, of the shape of x."""
        return self.mask * (x - self.y)

    def hvp(self, v: Tensor) -> Tensor:
        """M v."""
        return self.mask * v
