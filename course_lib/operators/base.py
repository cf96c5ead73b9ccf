"""What every forward operator promises, checked once for all of them."""

import math
from functools import cached_property

import torch
from torch import Generator, Tensor

from course_lib.protocols import ImageSize, NoiseModel
from course_lib.rng import check_generator, generator_from, normal_like
from course_lib.solvers.conjugate_gradient import conjugate_gradient
from course_lib.validation import check_tensor


class Operator:
    """A measurement A, linear or not, with an optional noise model: op(x) is one draw of y.

    A subclass has the attributes `img_size` (C, H, W) and `noise_model`, and writes `_apply` and
    `_vjp`; leading batch axes are free. `measurement_size` is the shape of one y.
    """

    img_size: ImageSize
    noise_model: NoiseModel | None

    @property
    def measurement_size(self) -> tuple[int, ...]:
        """Shape of the measurement of one image."""
        return self.img_size

    @property
    def n_measured(self) -> int:
        """How many numbers of one y are measured; the others are 0, also under noise."""
        return math.prod(self.measurement_size)

    def A(self, x: Tensor) -> Tensor:
        """Noise-free measurement of x: (*batch, *img_size) -> (*batch, *measurement_size)."""
        self._check("A", "x", x, self.img_size)
        return self._apply(x)

    def A_vjp(self, x: Tensor, v: Tensor) -> Tensor:
        """J(x)^T v, the transposed Jacobian of A at x applied to v."""
        self._check("A_vjp", "x", x, self.img_size)
        self._check("A_vjp", "v", v, self.measurement_size)
        return self._vjp(x, v)

    def __call__(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """y: the noise model applied to A(x), drawn from `generator`."""
        if self.noise_model is None:
            clean = self.A(x)
            self._check_finite("__call__", "x", x)
            return clean
        generator = check_generator(f"{type(self).__name__}(x)", generator)
        clean = self.A(x)
        self._check_finite("__call__", "x", x)
        return self.noise_model(clean, generator=generator)

    def _apply(self, x: Tensor, /) -> Tensor:
        raise NotImplementedError

    def _vjp(self, x: Tensor, v: Tensor) -> Tensor:
        raise NotImplementedError

    def _check(self, method: str, name: str, value: Tensor, size: tuple[int, ...]) -> None:
        where = f"{type(self).__name__}.{method}({name})"
        check_tensor(where, value)
        if not value.is_floating_point():
            kind = str(value.dtype).removeprefix("torch.")
            raise TypeError(
                f"{where}: expected floating-point numbers, got {kind}. "
                f"For an 8-bit image use {name}.float() / 255."
            )
        shape, k = tuple(value.shape), len(size)
        if shape[-k:] == tuple(size):
            if 0 in shape:
                raise ValueError(f"{where}: the batch is empty, got shape {shape}.")
            return
        wanted = ", ".join(["*batch", *map(str, size)])
        hint = ""
        if k == 3 and len(shape) >= 3 and (shape[-1], *shape[-3:-1]) == tuple(size):
            hint = f" Images are channels-first; try {name}.movedim(-1, -3)."
        elif shape == tuple(size)[1:] and size[0] == 1:
            hint = f" The channel axis is missing; try {name}[None]."
        raise ValueError(f"{where}: expected shape ({wanted}), got {shape}.{hint}")

    def _check_finite(self, method: str, name: str, value: Tensor) -> None:
        # NaN and infinity survive a sum, which is ten times cheaper than a look at every value.
        if not value.sum().isfinite() and not value.isfinite().all():
            bad = (~value.isfinite()).sum().item()
            raise ValueError(
                f"{type(self).__name__}.{method}({name}): {bad} values are NaN or infinite. "
                "Find where they arise, or mask those pixels with Inpainting."
            )


class LinearOperator(Operator):
    """A linear A. A subclass writes `_apply` and `_adjoint`, and closed forms where they exist.

    The defaults for `A_dagger` and `prox_l2` run conjugate gradients on the normal equations, and
    `norm` runs the power method; a subclass with a closed form overrides `_dagger`, `_prox_l2`
    and `norm`.
    """

    def A_adjoint(self, y: Tensor) -> Tensor:
        """A^T y: (*batch, *measurement_size) -> (*batch, *img_size)."""
        self._check("A_adjoint", "y", y, self.measurement_size)
        return self._adjoint(y)

    def A_dagger(self, y: Tensor) -> Tensor:
        """A^+ y, the least-squares solution of least norm: argmin |x| over Argmin |A x - y|."""
        self._check("A_dagger", "y", y, self.measurement_size)
        self._check_finite("A_dagger", "y", y)
        return self._dagger(y)

    def prox_l2(self, z: Tensor, y: Tensor, gamma: float) -> Tensor:
        """argmin_u gamma/2 |A u - y|^2 + 1/2 |u - z|^2 = (gamma A^T A + I)^-1 (gamma A^T y + z)."""
        self._check("prox_l2", "z", z, self.img_size)
        self._check("prox_l2", "y", y, self.measurement_size)
        self._check_finite("prox_l2", "z", z)
        self._check_finite("prox_l2", "y", y)
        if not 0 < gamma < math.inf:
            raise ValueError(
                f"{type(self).__name__}.prox_l2: gamma weighs the data: it must be positive and "
                f"finite, got {gamma}. Its limit is A_dagger for z = 0."
            )
        return self._prox_l2(z, y, gamma)

    def norm(self) -> float:
        """Spectral norm |A|, the largest singular value.

        Exact where a closed form exists; otherwise the power method approaches it from below, to
        a relative error of about 1e-6.
        """
        return self._power_norm

    def _adjoint(self, y: Tensor, /) -> Tensor:
        raise NotImplementedError

    def _vjp(self, _x: Tensor, v: Tensor) -> Tensor:
        return self._adjoint(v)

    def _dagger(self, y: Tensor, /) -> Tensor:
        b = self._batched(self._adjoint(y))
        x = conjugate_gradient(self._normal, b, max_iter=1000, rtol=_tolerance(y.dtype)).x
        return x.reshape(*y.shape[: y.ndim - len(self.measurement_size)], *self.img_size)

    def _prox_l2(self, z: Tensor, y: Tensor, gamma: float) -> Tensor:
        b = gamma * self._adjoint(y) + z
        rtol = _tolerance(z.dtype)
        x = conjugate_gradient(
            lambda u: gamma * self._normal(u) + u, self._batched(b), max_iter=1000, rtol=rtol
        ).x
        return x.reshape(b.shape)

    def _normal(self, x: Tensor) -> Tensor:
        return self._adjoint(self._apply(x))

    def _batched(self, x: Tensor) -> Tensor:
        return x.reshape(-1, *self.img_size)

    @cached_property
    def _power_norm(self) -> float:
        """Power method on A^T A; stops when the estimate of |A| moves by less than 1e-7."""
        x = normal_like(torch.empty(1, *self.img_size, dtype=torch.float64), generator_from(0))
        old = 0.0
        for _ in range(2000):
            x = self._normal(x / x.norm())
            new = x.norm().sqrt().item()
            if abs(new - old) <= 1e-7 * new:
                break
            old = new
        return new


def _tolerance(dtype: torch.dtype) -> float:
    """Relative residual at which conjugate gradients stand in for a closed form."""
    return 1e-12 if dtype == torch.float64 else 1e-6
