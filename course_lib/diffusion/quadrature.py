"""Nodes of a quadrature along the time of a flow."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GaussLegendre:
    """The rule of n nodes that is exact for polynomials of degree 2 n - 1.

    For analytic functions its error falls geometrically in n.

    Raises:
        ValueError: n < 1.
    """

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"GaussLegendre: expected a number of nodes >= 1, got {self.n}.")

    def nodes(self, start: float, end: float) -> Iterator[tuple[float, float]]:
        """(node, weight), from start to end."""
        nodes, weights = np.polynomial.legendre.leggauss(self.n)
        half = (end - start) / 2
        for node, weight in zip(nodes, weights, strict=True):
            yield float(start + half * (1 + node)), float(half * weight)
