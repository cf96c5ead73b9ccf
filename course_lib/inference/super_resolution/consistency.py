"""The nearest image that explains a measurement without noise."""

from torch import Tensor

from course_lib.operators import LinearOperator


def consistency_projection(op: LinearOperator, x: Tensor, y: Tensor) -> Tensor:
    """Orthogonal projection onto the images that are measured as y, x - A^+ (A x - y).

    It is orthogonal to all differences between images of one measurement. So if y = A u, then
    |x' - u|^2 = |x - u|^2 - |x' - x|^2: the projection never moves away from u, and it moves
    nearer by exactly what it changes (Pythagoras). If A has full row rank, A x' = y.

    Args:
        op: operator with a pseudo-inverse (closed form for `Downsampling`, exact for any
            prefilter).
        x: images (*batch, C, H, W).
        y: measurements, for all axes of x or for the last ones of `batch`.

    Source: Bahat & Michaeli 2020, arXiv:1912.01839 ("consistency enforcing module").
    """
    return x - op.A_dagger(op.A(x) - y)
