"""Orthogonal projections on convex sets, for the projected gradient method."""

from torch import Tensor

from course_lib.protocols import ImageMap, Linear


def project_box(low: float = 0.0, high: float = 1.0) -> ImageMap:
    """x -> the nearest image with all values in [low, high]."""
    if not low < high:
        raise ValueError(f"project_box: expected low < high, got low={low}, high={high}.")
    return lambda x: x.clamp(low, high)


def project_consistent(op: Linear, y: Tensor) -> ImageMap:
    """x -> x - A^+ (A x - y), the nearest image that explains y exactly (y in the range of A).

    For inpainting this is "keep x where nothing was seen, y elsewhere".
    """
    return lambda x: x - op.A_dagger(op.A(x) - y)
