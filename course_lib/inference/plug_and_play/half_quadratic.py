r"""Half-quadratic splitting: the data by a closed form, the prior by a denoiser, in turn.

With f(u) = |A u - y|^2 / (2 sigma^2) and a prior of energy g, the two wishes are given a copy of
the image each, and are held together by a spring that gets stiffer:

    min over u, x of  f(u) + lam g(x) + lam / (2 s^2) |u - x|^2,   s falling to the noise level.

Over u it is quadratic: u = argmin s^2 / (2 lam sigma^2) |A u - y|^2 + 1/2 |u - x|^2. Over x it asks
for the image behind u with noise of variance s^2, which is what a denoiser gives.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.batch import norm, per_image
from course_lib.operators import Operator
from course_lib.protocols import Denoiser, Measuring
from course_lib.solvers import Solution
from course_lib.solvers.solution import History, status_of
from course_lib.validation import check_linear, check_measurement, check_start


@dataclass(frozen=True)
class FallingLevels:
    """n noise levels in equal ratios, from `first` to the noise of the measurement.

    Args:
        first: the first one, for images in [0, 1].
        n: their number, which is that of the denoiser's calls.
        least: the last one is not below it; a quantised image has no less noise.

    Raises:
        ValueError: no level, or levels that do not fall.

    Source: Zhang et al. 2021, arXiv:2008.13751, section 4.2, for `first` and n = 8.
    """

    first: float = 49 / 255
    n: int = 8
    least: float = 1 / 255

    def __post_init__(self) -> None:
        if self.n < 1 or not 0 < self.least <= self.first < math.inf:
            raise ValueError(
                "FallingLevels: expected n >= 1 and 0 < least <= first, got "
                f"n = {self.n}, least = {self.least}, first = {self.first}."
            )

    def down_to(self, sigma: float) -> list[float]:
        """The levels for noise of standard deviation sigma."""
        last = max(sigma, self.least)
        first = max(self.first, last)
        return torch.logspace(math.log10(first), math.log10(last), self.n).tolist()


@torch.no_grad()
def half_quadratic_splitting(
    op: Measuring,
    y: Tensor,
    denoiser: Denoiser,
    *,
    sigma: float,
    weight: float = 0.23,
    levels: FallingLevels = FallingLevels(),
    x0: Float[Tensor, "b c h w"] | None = None,
) -> Solution:
    """Restore by a denoiser: x_k = D(argmin_u s_k^2 / (weight sigma^2) |A u - y|^2 + |u - x|^2).

    Args:
        op: linear, with `prox_l2`.
        y: measurements (B, *op.measurement_size).
        denoiser: D(x, sigma), for images in [0, 1].
        sigma: standard deviation of the noise of y.
        weight: lam, of the prior; the default is the published one. `matched_to_noise` finds it.
        levels: the noise levels s_k.
        x0: where it starts, (B, C, H, W); A^T y by default, which will not do for lost pixels.

    Returns:
        Solution with history "misfit": |A x - y| / (sigma sqrt(m)) of each x_k, which is near 1
        where what is left looks like the noise.

    Raises:
        ValueError: a sigma or a weight that is not positive, shapes that do not fit.
        TypeError: an operator that is not linear.

    Source: Zhang et al. 2021, arXiv:2008.13751, Algorithm 1.
    """
    name = "half_quadratic_splitting"
    check_measurement(name, op, y)
    linear = check_linear(name, op, "Half-quadratic splitting needs `prox_l2`.")
    for what, value in (("sigma", sigma), ("weight", weight)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name}: {what} must be a positive number, got {value}.")
    x = linear.A_adjoint(y) if x0 is None else x0
    check_start(name, x)
    history, finite = History("misfit"), torch.ones(len(x), dtype=torch.bool, device=x.device)
    for level in levels.down_to(sigma):
        kept = per_image(finite, x)
        u = linear.prox_l2(torch.where(kept, x, 0), y, level**2 / (weight * sigma**2))
        x = torch.where(kept, denoiser(u, level), torch.nan)  # a lost image loses no other one
        history.add(misfit=misfit(linear, x, y, sigma))
        finite = history.rows["misfit"][-1].isfinite()
    return Solution(x, status_of(finite, ~finite), history.stack(), levels.n)


def misfit(op: Measuring, x: Tensor, y: Tensor, sigma: float) -> Float[Tensor, " b"]:
    """|A x - y| / (sigma sqrt(m)) of each image, for m measured numbers.

    Lost pixels and frequencies do not count, if op is an operator of the course.
    """
    m = op.n_measured if isinstance(op, Operator) else y[0].numel()
    return norm(op.A(x) - y) / (sigma * math.sqrt(m))
