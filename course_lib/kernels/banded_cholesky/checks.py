"""What a banded factor and the images it is applied to must be."""

from torch import Tensor

from course_lib.kernels.backend import COMPILED_DTYPES
from course_lib.kernels.banded_cholesky._reference import causal_offsets


def check_factor(diagonal: Tensor, offdiagonal: Tensor, radius: int) -> None:
    """Refuse what is no factor L with a positive diagonal."""
    name = "BandedCholesky"
    if not (isinstance(radius, int) and radius >= 0):
        raise ValueError(f"{name}: radius must be a whole number >= 0, got {radius!r}.")
    if diagonal.ndim != 4 or diagonal.shape[1] != 1 or 0 in diagonal.shape:
        raise ValueError(
            f"{name}: expected the diagonal as (B, 1, H, W), none of them 0, "
            f"got {tuple(diagonal.shape)}."
        )
    if diagonal.dtype not in COMPILED_DTYPES:
        raise ValueError(
            f"{name}: expected float32 or float64, got {diagonal.dtype}. "
            "Half precision is too coarse for a recursion over pixels; use .float()."
        )
    batch, _, height, width = diagonal.shape
    m = len(causal_offsets(radius))
    if offdiagonal.shape != (batch, m, height, width):
        raise ValueError(
            f"{name}: expected the off-diagonals as {(batch, m, height, width)}, "
            f"got {tuple(offdiagonal.shape)}. A patch of {2 * radius + 1} x {2 * radius + 1} "
            f"pixels (radius {radius}) has m = {m} causal neighbours."
        )
    check_same(name, "the off-diagonals", offdiagonal, diagonal)
    # One pass each: a sum is finite only if all its terms are. It may also overflow, so a sum that
    # is not finite makes us look at the terms.
    smallest, total = diagonal.detach().min(), diagonal.detach().sum()
    if (
        not (smallest > 0 and total.isfinite())
        and (bad := ~((diagonal > 0) & diagonal.isfinite())).any()
    ):
        raise ValueError(
            f"{name}: the diagonal must be finite and > 0, and {bad.sum()} of its numbers are not "
            f"(smallest {smallest:.3g}). Make it the exponential of a network's output, say."
        )
    if not offdiagonal.detach().sum().isfinite() and (bad := ~offdiagonal.isfinite()).any():
        raise ValueError(
            f"{name}: {bad.sum()} off-diagonals are NaN or infinite. Find where they arise."
        )


def check_image(name: str, x: Tensor, diagonal: Tensor) -> tuple[int, ...]:
    """The shape of the answer, (..., B, 1, H, W); refuse x that does not fit L."""
    batch, *image = diagonal.shape
    fits = x.ndim >= 4 and list(x.shape[-3:]) == image and 0 not in x.shape
    if not fits or (batch > 1 and x.shape[-4] not in (1, batch)):
        expected = ", ".join(map(str, (batch if batch > 1 else "B", *image)))
        raise ValueError(
            f"{name}: expected shape (..., {expected}), got {tuple(x.shape)}. "
            "Leading axes broadcast; a colour image needs one factor a channel, "
            "with its channels in the batch."
        )
    check_same(name, "x", x, diagonal)
    return (*x.shape[:-4], max(batch, x.shape[-4]), *image)


def check_same(name: str, what: str, x: Tensor, diagonal: Tensor) -> None:
    """Refuse another dtype or device than those of the diagonal."""
    if x.dtype != diagonal.dtype or x.device != diagonal.device:
        raise ValueError(
            f"{name}: expected {what} in {diagonal.dtype} on {diagonal.device} as the diagonal, "
            f"got {x.dtype} on {x.device}. Use .to(diagonal)."
        )
