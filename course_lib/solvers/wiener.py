r"""Closed-form restoration in the Fourier basis: Tychonov's estimate and Wiener's filter."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fft import irfft2, rfft2

from course_lib.finite_differences import laplacian_symbol
from course_lib.fourier import squared_modulus
from course_lib.solvers.solution import Solution
from course_lib.validation import check_measurement


def tychonov(op, y: Tensor, lam: float | Tensor) -> Solution:
    r"""argmin_u 1/2 |A u - y|^2 + lam |grad u|^2 for an A that is diagonal in the Fourier basis.

    With the transfer function k of A and the symbol L of -Laplacian,
    F u = conj(k) F y / (|k|^2 + 2 lam L): Tychonov's estimate. It coincides with Wiener's filter
    if the image has the power spectrum sigma^2 H W / (2 lam L), see `wiener`.

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
    transfer = fourier_diagonal("tychonov", op)
    check_measurement("tychonov", op, y)
    weight = positive_weights("tychonov", lam, y)
    return _filter(y, transfer, hessian_spectrum(op, weight, y.shape[-2:]))


def hessian_spectrum(op, lam: float | Tensor, size: tuple[int, int]) -> Float[Tensor, "... h w2"]:
    r"""Eigenvalues |k|^2 + 2 lam L of the Hessian of 1/2 |A u - y|^2 + lam |grad u|^2.

    On the half grid of rfft2 for images of `size` (H, W). The largest one is the exact Lipschitz
    constant of the gradient, the smallest the strong convexity, their ratio the condition number.
    """
    gain = squared_modulus(fourier_diagonal("hessian_spectrum", op))
    return gain + 2 * lam * laplacian_symbol(size).to(gain.device)


def wiener(op, y: Tensor, sigma: float, power_spectrum: Float[Tensor, "*c h w2"]) -> Solution:
    r"""The linear estimate of least mean square error, for a stationary image and white noise.

    F x = conj(k) F y / (|k|^2 + sigma^2 H W / S), where S = E |F x|^2 is the power spectrum on
    the half grid of rfft2 (unnormalised DFT) and sigma^2 H W = E |F w|^2 that of the noise. The
    image is taken to have mean zero; subtract the mean of y first if it has not.

    Source: Wiener 1949; Hansen, Nagy & O'Leary 2006, section 6.3.
    """
    transfer = fourier_diagonal("wiener", op)
    check_measurement("wiener", op, y)
    if not 0 <= sigma < math.inf:
        raise ValueError(f"wiener: sigma must be a finite number >= 0, got {sigma}.")
    height, width = y.shape[-2:]
    if power_spectrum.shape[-2:] != (height, width // 2 + 1) or not (power_spectrum > 0).all():
        raise ValueError(
            f"wiener: power_spectrum must be positive on the half grid of rfft2, and its "
            f"shape end in {(height, width // 2 + 1)}, got {tuple(power_spectrum.shape)}."
        )
    noise = sigma**2 * height * width
    return _filter(y, transfer, squared_modulus(transfer) + noise / power_spectrum)


def fourier_diagonal(caller: str, op) -> Tensor:
    """The transfer function of op, or an error that says which solver to use instead."""
    if not hasattr(op, "transfer"):
        raise TypeError(
            f"{caller}: {type(op).__name__} is not diagonal in the Fourier basis, so there is no "
            "closed form. Minimise LeastSquares(op, y) + Tychonov(lam) with conjugate_gradient."
        )
    return op.transfer


def positive_weights(caller: str, lam: float | Tensor, y: Tensor) -> Tensor:
    """lam as a tensor that broadcasts against (B, C, H, W); must be positive."""
    weights = torch.as_tensor(lam, dtype=y.dtype, device=y.device)
    if not (weights > 0).all() or not weights.isfinite().all():
        raise ValueError(
            f"{caller}: lam must be positive and finite, got {weights.tolist()}. At lam = 0 "
            "it would be op.A_dagger(y), which divides the noise by the transfer function."
        )
    if weights.ndim > 1 or (weights.ndim == 1 and len(y) not in (1, len(weights))):
        raise ValueError(
            f"{caller}: expected one lam, or one for each of the {len(y)} images, got shape "
            f"{tuple(weights.shape)}."
        )
    return weights.reshape(-1, *[1] * (y.ndim - 1)) if weights.ndim else weights


def _filter(y: Tensor, transfer: Tensor, denominator: Tensor) -> Solution:
    # Where nothing is seen and nothing is penalised, 0 / tiny = 0 is the minimum-norm answer.
    denominator = denominator.to(y.dtype).clamp(min=torch.finfo(y.dtype).tiny)
    x = irfft2(transfer.conj() * rfft2(y) / denominator, s=y.shape[-2:]).to(y.dtype)
    return Solution(x, "converged")
