"""One operator after another."""

from dataclasses import dataclass

from torch import Generator, Tensor

from course_lib.operators.base import LinearOperator
from course_lib.protocols import ImageSize, NoiseModel


@dataclass(frozen=True, eq=False)
class Composition(LinearOperator):
    """A = outer inner, hence A^T = inner^T outer^T.

    For instance a photograph of a scene that goes on beyond its border: the blur of a larger
    canvas, of which only the pixels are seen whose kernel stays on the canvas,

        Composition(Inpainting(seen), Blur(kernel, canvas)).

    There the blur's closed forms are lost, and A^+ and the proximal map run conjugate gradients.

    Args:
        outer: applied second; its noise model is that of the composition.
        inner: applied first.

    Raises:
        ValueError: outer does not take what inner measures.
    """

    outer: LinearOperator
    inner: LinearOperator

    def __post_init__(self) -> None:
        measured, taken = tuple(self.inner.measurement_size), tuple(self.outer.img_size)
        if measured != taken:
            raise ValueError(
                f"Composition: {type(self.inner).__name__} measures {measured}, but "
                f"{type(self.outer).__name__} takes images of {taken}. Give both the same size."
            )

    @property
    def img_size(self) -> ImageSize:
        """Size of the images of the inner operator."""
        return self.inner.img_size

    @property
    def measurement_size(self) -> tuple[int, ...]:
        """Size of the measurements of the outer operator."""
        return self.outer.measurement_size

    @property
    def n_measured(self) -> int:
        """That of the outer operator."""
        return self.outer.n_measured

    @property
    def noise_model(self) -> NoiseModel | None:
        """Noise model of the outer operator."""
        return self.outer.noise_model

    def __call__(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """The outer operator, with its noise, on the inner one without."""
        self._check("A", "x", x, self.img_size)
        self._check_finite("__call__", "x", x)
        return self.outer(self.inner.A(x), generator=generator)

    def _apply(self, x: Tensor) -> Tensor:
        return self.outer.A(self.inner.A(x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.inner.A_adjoint(self.outer.A_adjoint(y))
