"""The posterior of the latent near its peak: a Gaussian, from the Jacobian of the decoder."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.inference.latent.map_latent import LatentGenerator
from course_lib.operators import LinearOperator, Operator


class Laplace(NamedTuple):
    """N(mode, root root^T) for each of B measurements, and its standard coordinates w.

    z = mode + root w makes of a long and thin posterior a round one, as far as it is Gaussian.

    Attributes:
        mode: (B, ...).
        root: (B, d, d), for d numbers in a latent.
    """

    mode: Float[Tensor, "b ..."]
    root: Float[Tensor, "b d d"]

    def colour(self, w: Float[Tensor, "*n b d"]) -> Tensor:
        """w to z, (*n, B, ...)."""
        move = torch.einsum("bij,...bj->...bi", self.root, w)
        return self.mode + move.unflatten(-1, self.mode.shape[1:])

    def whiten(self, z: Tensor) -> Float[Tensor, "*n b d"]:
        """z, (*n, B, ...), to w."""
        move = (z - self.mode).flatten(z.ndim - self.mode.ndim + 1)
        return torch.linalg.solve_triangular(self.root, move[..., None], upper=True).squeeze(-1)


@torch.no_grad()
def laplace(
    model: LatentGenerator,
    op: Operator,
    z: Float[Tensor, "b ..."],
    *,
    sigma: float,
    std: float,
    batch: int = 256,
) -> Laplace:
    """The Gaussian with peak z and the curvature I + J^T A^T (sigma^2 I + std^2 A A^T)^-1 A J.

    J is the Jacobian of the decoder D at z, by central differences: exact enough for a choice of
    coordinates, and for every decoder. The curvature is the second derivative of -log p(z | y)
    without that of D (Gauss and Newton's), hence positive whether or not z is a minimum.

    Args:
        model: D(z) is model.decode(z).mean; in evaluation mode.
        op: linear, or any operator where std = 0.
        z: the most probable latents.
        sigma: standard deviation of the noise.
        std: that of x given z; with 0, x = D(z).
        batch: columns of J that are computed at a time.

    Raises:
        TypeError: std > 0 with an operator that is not linear.
    """
    if std:
        check_linear("laplace", op)
    d, h = z[0].numel(), torch.finfo(z.dtype).eps ** (1 / 3)  # errors h^2 and eps / h in balance
    rows = z.repeat_interleave(d, 0)
    steps = h * torch.eye(d).to(z).repeat(len(z), 1).view(rows.shape)

    def seen(z: Tensor) -> Tensor:
        image = model.decode(z).mean
        return image if std else op.A(image)

    parts = zip(rows.split(batch), steps.split(batch), strict=True)
    columns = torch.cat([(seen(at + step) - seen(at - step)) / (2 * h) for at, step in parts])
    if std:  # A^T (sigma^2 I + std^2 A A^T)^-1 A = (I - (I + gamma A^T A)^-1) / std^2
        zero = columns.new_zeros(len(columns), *op.measurement_size)
        weighted = (columns - op.prox_l2(columns, zero, (std / sigma) ** 2)) / std**2
    else:
        weighted = columns / sigma**2
    columns, weighted = (c.flatten(1).unflatten(0, (len(z), d)) for c in (columns, weighted))
    curvature = columns @ weighted.mT + torch.eye(d).to(z)
    factor = torch.linalg.cholesky((curvature + curvature.mT) / 2)
    eye = torch.eye(d).to(z).expand_as(factor)
    return Laplace(z, torch.linalg.solve_triangular(factor.mT, eye, upper=True))


def check_linear(name: str, op: Operator) -> None:
    """Refuse an A for which x given z and y is not Gaussian."""
    if not isinstance(op, LinearOperator):
        raise TypeError(
            f"{name}: {type(op).__name__} is not linear, so x given z and y is not Gaussian. With "
            "std = 0, sample_latents draws from the model x = D(z)."
        )
