r"""Choosing the weight lam of `tychonov` from the data alone, in closed form on the spectrum.

With the filter factor phi = |h|^2 / (|h|^2 + 2 lam L), the residual of Tychonov's estimate is
F(A u - y) = (phi - 1) F y, so every rule below is a sum over frequencies: no image is restored
until the weight is known. All images of a batch and all candidate weights go at once.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fft import rfft2

from course_lib.finite_differences import laplacian_symbol
from course_lib.fourier import half_spectrum_weights, squared_modulus
from course_lib.metrics import psnr
from course_lib.protocols import Linear
from course_lib.solvers.fourier_diagonal import fourier_diagonal
from course_lib.solvers.tychonov import tychonov
from course_lib.validation import check_measurement


def discrepancy_principle(
    op: Linear, y: Tensor, sigma: float, *, bounds: tuple[float, float] = (1e-8, 1e4)
) -> Float[Tensor, "b"]:
    """Morozov's rule: the lam whose residual has the size of the noise, |A u - y|^2 = n sigma^2.

    The residual grows with lam, so bisection on log lam finds it, up to a relative error of 1e-6;
    where no lam within `bounds` fits, the nearer bound is returned.

    Args:
        op, y: as in `tychonov`; y is (B, C, H, W).
        sigma: noise standard deviation, on the scale of y.

    Source: Morozov 1966; Engl, Hanke & Neubauer 1996, section 4.3.
    """
    if not 0 < sigma < math.inf:
        raise ValueError(f"discrepancy_principle: sigma must be positive, got {sigma}.")
    if not 0 < bounds[0] < bounds[1] < math.inf:
        raise ValueError(f"discrepancy_principle: expected bounds 0 < low < high, got {bounds}.")
    spectrum = _Spectrum("discrepancy_principle", op, y)
    low, high = (
        torch.full((len(y),), bound, dtype=torch.float64, device=y.device).log() for bound in bounds
    )
    for _ in range(50):
        middle = (low + high) / 2
        residual = (spectrum.removed(middle.exp()).square() * spectrum.power).sum(1)
        too_rough = residual < y[0].numel() * sigma**2
        low, high = torch.where(too_rough, middle, low), torch.where(too_rough, high, middle)
    return ((low + high) / 2).exp().to(y)


def generalised_cross_validation(
    op: Linear, y: Tensor, lams: Float[Tensor, "candidates"]
) -> tuple[Float[Tensor, "b"], Float[Tensor, "b candidates"]]:
    """The candidate lam that predicts left-out pixels best; the noise level is not needed.

    GCV(lam) = n |A u - y|^2 / trace(I - A R)^2, where u = R y is Tychonov's estimate.

    Args:
        op, y: as in `tychonov`.
        lams: candidate weights, positive.

    Returns:
        The best candidate for each image, and the whole curve GCV / n.

    Source: Golub, Heath & Wahba 1979, doi:10.1080/00401706.1979.10489751.
    """
    if lams.ndim != 1 or len(lams) == 0 or not (lams > 0).all():
        raise ValueError("generalised_cross_validation: lams must be a 1-D tensor of weights > 0.")
    spectrum = _Spectrum("generalised_cross_validation", op, y)
    removed = spectrum.removed(lams.double().to(y.device))
    trace = y.shape[1] * removed @ spectrum.multiplicity
    curve = spectrum.power @ removed.square().T / trace**2
    return lams[curve.argmin(1)], curve.to(y)


def oracle_weight(
    op: Linear, y: Tensor, x_true: Tensor, lams: Float[Tensor, "candidates"]
) -> Float[Tensor, "b"]:
    """The candidate lam with the least true error of Tychonov's estimate, for each image.

    It needs the answer x_true (B, C, H, W), so it is a bound on every rule and no rule itself.
    """
    scores = torch.stack([psnr(tychonov(op, y, lam).x, x_true) for lam in lams])
    return lams[scores.argmax(0)]


class _Spectrum:
    """|F y|^2, |h|^2 and L, flattened over frequencies, in double precision."""

    def __init__(self, caller: str, op: Linear, y: Tensor) -> None:
        transfer = fourier_diagonal(caller, op)
        check_measurement(caller, op, y)
        height, width = y.shape[-2:]
        columns = half_spectrum_weights((height, width)).to(y.device)
        self.multiplicity = columns.expand(height, -1).flatten()
        power = squared_modulus(rfft2(y.double())).sum(1) / (height * width)
        self.power = (power * columns).flatten(1)
        gain = squared_modulus(transfer).double()
        self.gain = gain.expand(height, len(columns)).flatten()
        self.symbol = laplacian_symbol((height, width)).to(y.device).flatten()

    def removed(self, lam: Float[Tensor, "l"]) -> Float[Tensor, "l frequencies"]:
        """1 - phi, the share of each frequency that stays in the residual."""
        penalty = 2 * lam[:, None] * self.symbol
        return penalty / (self.gain + penalty).clamp(min=torch.finfo(torch.float64).tiny)
