"""The posterior of the latent near its peak: a Gaussian, from the Jacobian of the decoder."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.inference.latent.energy import LatentEnergy, MarginalPosterior


class Laplace(NamedTuple):
    """N(mode, root root^T) for each of B measurements, and its standard coordinates w.

    z = mode + root w makes of a long and thin posterior a round one, as far as it is Gaussian.

    Attributes:
        mode: (B, ...).
        root: (B, d, d), upper triangular, for d numbers in a latent.
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
def laplace(f: LatentEnergy, z: Float[Tensor, "b ..."], *, batch: int = 256) -> Laplace:
    """The Gaussian with peak z and the curvature w I + J^T A^T (sigma^2 I + std^2 A A^T)^-1 A J.

    J is the Jacobian of the decoder D at z, by central differences: exact enough for a choice of
    coordinates, and for every decoder. The curvature is the second derivative of f without that
    of D (Gauss and Newton's), hence positive whether or not z is a minimum.

    Args:
        f: -log p(z | y): a MarginalPosterior, or a LatentEnergy, for which std = 0.
        z: the most probable latents.
        batch: number of columns of J that are computed at a time.
    """
    op, sigma, std = f.op, f.sigma, f.std if isinstance(f, MarginalPosterior) else 0.0
    d, h = z[0].numel(), torch.finfo(z.dtype).eps ** (1 / 3)  # errors h^2 and eps / h in balance
    eye = torch.eye(d).to(z)
    rows = z.repeat_interleave(d, 0)
    steps = (h * eye).repeat(len(z), 1).view(rows.shape)

    def seen(z: Tensor) -> Tensor:
        return f.image(z) if std else op.A(f.image(z))

    parts = zip(rows.split(batch), steps.split(batch), strict=True)
    columns = torch.cat([(seen(at + step) - seen(at - step)) / (2 * h) for at, step in parts])
    if isinstance(f, MarginalPosterior):
        # A^T (sigma^2 I + std^2 A A^T)^-1 A = (I - (I + gamma A^T A)^-1) / std^2
        zero = columns.new_zeros(len(columns), *op.measurement_size)
        weighted = (columns - f.linear.prox_l2(columns, zero, (std / sigma) ** 2)) / std**2
    else:
        weighted = columns / sigma**2
    columns, weighted = (c.flatten(1).unflatten(0, (len(z), d)) for c in (columns, weighted))
    curvature = columns @ weighted.mT + f.weight * eye
    factor = torch.linalg.cholesky((curvature + curvature.mT) / 2)
    root = torch.linalg.solve_triangular(factor.mT, eye.expand_as(factor), upper=True)
    return Laplace(z, root)
