"""Photographs by penalties: the minimiser of 1/2 |A x - y|^2 + weight R(x)."""

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from tqdm import tqdm

from course_lib.finite_differences import laplacian
from course_lib.functionals import LeastSquares, SmoothedTV
from course_lib.restore.photographs import PaddedProblem, Restoration
from course_lib.solvers import accelerated_gradient, conjugate_gradient

WEIGHTS = {"wiener": (1e-6, 1e2), "tv": (1e-5, 1.0)}  # where weights are looked for
EPS = 0.01  # of smoothed total variation: below the noise of most photographs


@dataclass(frozen=True)
class Penalty:
    """Tychonov's estimate, or that of smoothed total variation.

    Args:
        kind: "wiener" for R(x) = |grad x|^2, "tv" for smoothed total variation.
        weight: weight of R; by default the one whose data fidelity is 1, which is Morozov's
            discrepancy principle.
        device: where the arithmetic is done.

    Raises:
        ValueError: another word, or a weight that is not positive.
    """

    kind: Literal["wiener", "tv"]
    weight: float | None = None
    device: str = "cpu"
    stride = 1

    def __post_init__(self) -> None:
        if self.kind not in WEIGHTS:
            raise ValueError(f"Penalty: there is {', '.join(WEIGHTS)}; got {self.kind!r}.")
        if self.weight is not None and not 0 < self.weight < math.inf:
            raise ValueError(f"Penalty: expected a positive weight, got {self.weight}.")

    @property
    def facts(self) -> dict[str, str | int | None]:
        """What a report says of the method."""
        return {"method": self.kind, "model": None, "steps": None, "seed": None}

    def restore(self, problem: PaddedProblem, *, progress: bool = False) -> Restoration:
        """The minimiser; its data fidelity grows with the weight, so ten halvings of the interval
        of log weight find the weight within 1 %, each from where the last one ended.
        """
        minimise = tychonov_estimate if self.kind == "wiener" else _total_variation
        x, weight = tychonov_estimate(problem, None, 1e-3), self.weight
        if weight is not None:
            return problem.restoration(minimise(problem, x, weight), weight=weight)
        low, high = (math.log(bound) for bound in WEIGHTS[self.kind])
        for _ in tqdm(range(10), "weight", disable=not progress):
            middle = (low + high) / 2
            weight = math.exp(middle)
            x = minimise(problem, x, weight)
            low, high = (middle, high) if problem.data_fidelity(x) < 1 else (low, middle)
        return problem.restoration(x, weight=weight)


def tychonov_estimate(problem: PaddedProblem, x: Tensor | None, weight: float) -> Tensor:
    """Of the canvas, from x: the mask spoils the closed form, hence conjugate gradients."""
    op = problem.op
    return conjugate_gradient(
        lambda u: op.A_adjoint(op.A(u)) - 2 * weight * laplacian(u),
        op.A_adjoint(problem.y),
        x,
        max_iter=300,
        rtol=1e-5,
    ).x


def _total_variation(problem: PaddedProblem, x: Tensor, weight: float) -> Tensor:
    penalty = SmoothedTV(weight, EPS)
    return accelerated_gradient(
        LeastSquares(problem.op, problem.y) + penalty,
        x,
        step_size=1 / (problem.gain**2 + penalty.lipschitz),
        max_iter=300,
        rtol=1e-4,
    ).x
