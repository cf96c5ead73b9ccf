"""Quadratic regularity: of the image itself (ridge) or of its gradient (Tychonov)."""

from dataclasses import dataclass

from torch import Tensor

from course_lib.batch import image_sides
from course_lib.finite_differences import gradient, laplacian, laplacian_symbol
from course_lib.fourier import filter_image
from course_lib.functionals.base import Functional
from course_lib.validation import check_not_negative


@dataclass(frozen=True, eq=False)
class Ridge(Functional):
    """R(u) = lam/2 |u|^2, so that 1/2 |A u - y|^2 + R has the minimiser (A^T A + lam I)^-1 A^T y.

    The 1/2 belongs to R once: writing lam R with R = lam/2 |u|^2 would give lam^2 (erratum E21).
    """

    lam: float

    def __post_init__(self) -> None:
        check_not_negative("Ridge", lam=self.lam)

    def __call__(self, x: Tensor) -> Tensor:
        """lam/2 |x|^2, (B,)."""
        return self.lam / 2 * x.flatten(1).square().sum(1)

    def grad(self, x: Tensor) -> Tensor:
        """lam x."""
        return self.lam * x

    hvp = grad

    @property
    def lipschitz(self) -> float:
        """lam."""
        return self.lam

    def prox(self, x: Tensor, step_size: float) -> Tensor:
        """argmin_u R(u) + |u - x|^2 / (2 step_size)."""
        return x / (1 + step_size * self.lam)


@dataclass(frozen=True, eq=False)
class Tychonov(Functional):
    """R(u) = lam |grad u|^2, forward differences on a periodic image; gradient -2 lam Laplacian u.

    The gradient is 16 lam-Lipschitz, exactly so when both sides of the image are even.
    """

    lam: float

    def __post_init__(self) -> None:
        check_not_negative("Tychonov", lam=self.lam)

    def __call__(self, x: Tensor) -> Tensor:
        """lam |grad x|^2, (B,)."""
        return self.lam * gradient(x).square().sum(0).flatten(1).sum(1)

    def grad(self, x: Tensor) -> Tensor:
        """-2 lam Laplacian x."""
        return -2 * self.lam * laplacian(x)

    hvp = grad

    @property
    def lipschitz(self) -> float:
        """16 lam."""
        return 16 * self.lam

    def prox(self, x: Tensor, step_size: float) -> Tensor:
        """argmin_u R(u) + |u - x|^2 / (2 step_size), a filter: 1 / (1 + 2 step_size lam L)."""
        symbol = laplacian_symbol(image_sides(x)).to(x)
        return filter_image(x, 1 / (1 + 2 * step_size * self.lam * symbol))
