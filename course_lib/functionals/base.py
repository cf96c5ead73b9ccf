"""Functionals: one value per image, a gradient, and sums of them."""

from dataclasses import dataclass

from torch import Tensor


class Functional:
    """f(x) -> (B,) for x (B, C, H, W), with `grad`, and `hvp` where the Hessian is constant.

    `lipschitz` is a bound on the Lipschitz constant of the gradient (not of f: erratum E27).
    """

    lipschitz: float

    def __call__(self, x: Tensor, /) -> Tensor:
        """f(x), (B,)."""
        raise NotImplementedError

    def grad(self, x: Tensor, /) -> Tensor:
        """Gradient at x, of the shape of x."""
        raise NotImplementedError

    def __add__(self, other: "Functional") -> "Functional":
        return Sum(self, other)

    def hvp(self, _v: Tensor, /) -> Tensor:
        """The Hessian times v, for quadratic functionals."""
        raise TypeError(
            f"{type(self).__name__} is not quadratic: its Hessian depends on the image. "
            "Give step_size as a number, or leave it out, instead of 'optimal'."
        )


@dataclass(frozen=True, eq=False)
class Sum(Functional):
    """f + g; the bounds on the curvature add up."""

    f: Functional
    g: Functional

    def __call__(self, x: Tensor) -> Tensor:
        """f(x) + g(x), (B,)."""
        return self.f(x) + self.g(x)

    def grad(self, x: Tensor) -> Tensor:
        """grad f(x) + grad g(x)."""
        return self.f.grad(x) + self.g.grad(x)

    def hvp(self, v: Tensor) -> Tensor:
        """The sum of both Hessians times v."""
        return self.f.hvp(v) + self.g.hvp(v)

    @property
    def lipschitz(self) -> float:
        """The sum of both bounds."""
        return self.f.lipschitz + self.g.lipschitz
