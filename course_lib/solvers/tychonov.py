r"""Tychonov's estimate in closed form, in the Fourier basis."""

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.batch import image_sides, per_image
from course_lib.finite_differences import laplacian_symbol
from course_lib.fourier import squared_modulus
from course_lib.protocols import Linear
from course_lib.solvers.fourier_diagonal import fourier_diagonal, regularised_inverse
from course_lib.solvers.solution import Solution
from course_lib.validation import check_measurement


def tychonov(op: Linear, y: Tensor, lam: float | Tensor) -> Solution:
    r"""argmin_u 1/2 |A u - y|^2 + lam |grad u|^2 for an A that is diagonal in the Fourier basis.

    With the transfer function h of A and the symbol L of -Laplacian,

        F u = conj(h) F y / (|h|^2 + 2 lam L).

    It is Wiener's filter for the power spectrum sigma^2 H W / (2 lam L), see `wiener`.

    Args:
        op: an operator with a `transfer` function, `Denoising` or `Blur`.
        y: (B, C, H, W).
        lam: weight > 0, or one weight per image (B,). A single image, B = 1, with many weights
            gives one estimate per weight.

    Raises:
        TypeError: op is not diagonal in the Fourier basis.
        ValueError: lam <= 0, y with NaN or of the wrong shape.

    Source: Tikhonov & Arsenin 1977; Hansen, Nagy & O'Leary 2006, chapter 6.
    """
    h = fourier_diagonal("tychonov", op)
    check_measurement("tychonov", op, y)
    weight = _positive_weights(lam, y)
    return regularised_inverse(h, y, hessian_spectrum(op, weight, image_sides(y)))


def hessian_spectrum(
    op: Linear, lam: float | Tensor, size: tuple[int, int]
) -> Float[Tensor, "... h w2"]:
    r"""Eigenvalues |h|^2 + 2 lam L of the Hessian of 1/2 |A u - y|^2 + lam |grad u|^2.

    On the half grid of rfft2 for images of `size` (H, W). The largest one is the exact Lipschitz
    constant of the gradient, the smallest the strong convexity, their ratio the condition number.
    """
    gain = squared_modulus(fourier_diagonal("hessian_spectrum", op))
    return gain + 2 * lam * laplacian_symbol(size).to(gain.device)


def _positive_weights(lam: float | Tensor, y: Tensor) -> Tensor:
    """lam as a tensor that broadcasts against (B, C, H, W); must be positive."""
    weights = torch.as_tensor(lam, dtype=y.dtype, device=y.device)
    if not (weights > 0).all() or not weights.isfinite().all():
        raise ValueError(
            f"tychonov: lam must be positive and finite, got {weights.tolist()}. At lam = 0 "
            "it would be op.A_dagger(y), which divides the noise by the transfer function."
        )
    if weights.ndim > 1 or (weights.ndim == 1 and len(y) not in (1, len(weights))):
        raise ValueError(
            f"tychonov: expected one lam, or one for each of the {len(y)} images, got shape "
            f"{tuple(weights.shape)}."
        )
    return per_image(weights, y) if weights.ndim else weights
