"""Names that appear in signatures all over the package."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from torch import Generator, Tensor

ImageSize = tuple[int, int, int]  # (channels, height, width) of one image, in pixels
ImageMap = Callable[[Tensor], Tensor]  # an image in, an image out
Denoiser = Callable[[Tensor, Any], Tensor]  # D(x, sigma), sigma a number or one for each image
Batch = Tensor | tuple[Tensor, ...]  # what a set of samples returns for some indices


@runtime_checkable
class NoiseModel(Protocol):
    """Turns a clean measurement A(x) into one draw of y."""

    def __call__(self, clean: Tensor, *, generator: Generator) -> Tensor:
        """One draw of y."""
        ...


@runtime_checkable
class Likelihood(NoiseModel, Protocol):
    """A noise model that also knows how likely a measurement is."""

    def std(self, clean: Tensor) -> Tensor:
        """Standard deviation of y given the clean measurement."""
        ...

    def negative_log_likelihood(self, clean: Tensor, y: Tensor) -> Tensor:
        """-log p(y | clean), nats per image."""
        ...


@runtime_checkable
class Measuring(Protocol):
    """A forward model, linear or not, of which the shape of one measurement is known."""

    @property
    def measurement_size(self) -> tuple[int, ...]:
        """Shape of the measurement of one image."""
        ...

    def A(self, x: Tensor) -> Tensor:
        """Noise-free measurement of x."""
        ...


@runtime_checkable
class Linear(Measuring, Protocol):
    """A linear forward model A with its adjoint, pseudo-inverse and proximal map."""

    def A_adjoint(self, y: Tensor) -> Tensor:
        """A^T y."""
        ...

    def A_dagger(self, y: Tensor) -> Tensor:
        """A^+ y."""
        ...

    def prox_l2(self, z: Tensor, y: Tensor, gamma: float) -> Tensor:
        """argmin_u gamma/2 |A u - y|^2 + 1/2 |u - z|^2."""
        ...


@runtime_checkable
class FourierDiagonal(Linear, Protocol):
    """A linear forward model A = F^-1 diag(transfer) F, on the half spectrum of rfft2."""

    @property
    def transfer(self) -> Tensor:
        """Eigenvalues of A."""
        ...


@runtime_checkable
class Smooth(Protocol):
    """A differentiable functional: one value per image, and its gradient."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Value of each image, (B,)."""
        ...

    def grad(self, x: Tensor, /) -> Tensor:
        """Gradient at x."""
        ...


@runtime_checkable
class Quadratic(Smooth, Protocol):
    """A functional with a constant Hessian H."""

    def hvp(self, v: Tensor, /) -> Tensor:
        """H v."""
        ...


@runtime_checkable
class Proximable(Protocol):
    """A functional with its proximal map."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Value of each image, (B,)."""
        ...

    def prox(self, x: Tensor, step_size: float) -> Tensor:
        """argmin_u g(u) + |u - x|^2 / (2 step_size)."""
        ...


@runtime_checkable
class Dataset(Protocol):
    """A set of samples, many at a time; a tensor of images is one."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Tensor, /) -> Any:
        """A `Batch`, the samples of `index` (b,) int64 stacked: values in [0, 1], float32."""
        ...
