"""Minus the evidence lower bound, the objective of variational Bayes.

It exceeds -log p(y) by KL(q(x, z) || p(x, z | y)). The objective that is printed in the sources of
`vble` for a structured L differs from it; see errata E11 and E12.
"""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from course_lib.inference.latent.generator import HierarchicalGenerator, LatentGenerator
from course_lib.inference.vble.factors import STANDARD_NORMAL, Eps, GaussianPosterior, Parameters
from course_lib.operators import Operator, measure
from course_lib.protocols import Likelihood


def negative_elbo(
    q: GaussianPosterior, vae: LatentGenerator, op: Operator, y: Tensor, noise: Likelihood, eps: Eps
) -> Float[Tensor, " b"]:
    """-E log p(y | Ax) + KL(q(z) || p(z)) + E KL(q(x|z) || p(x|z)), one draw, nats per image.

    With a latent h above z the second term is KL(q(h) || p(h)) + E KL(q(z) || p(z | h)).
    """
    p_z, kl_h = STANDARD_NORMAL, 0.0
    if q.h is not None and isinstance(vae, HierarchicalGenerator):
        p_z = vae.latent_prior(q.h.draw(STANDARD_NORMAL, eps.get("h")))
        kl_h = q.h.kl(STANDARD_NORMAL)
    z = q.z.draw(p_z, eps.get("z"))  # m + a e
    p = vae.decode(z)  # N(G(z), (L L^T)^-1)
    x = q.x.draw(p, eps.get("x"))  # G(z) + nu + L^-T (b e')
    return (
        noise.negative_log_likelihood(measure(op, x), y)  # its gradient is op.A_vjp
        + kl_h
        + q.z.kl(p_z)
        + q.x.kl(p)
    )


@dataclass(frozen=True, eq=False)
class Objective:
    """Parameters of q -> `negative_elbo`, the mean over K draws."""

    vae: LatentGenerator
    op: Operator
    y: Tensor
    noise: Likelihood

    def __call__(self, free: Parameters, eps: Eps) -> Float[Tensor, " b"]:
        """Its value, nats per image."""
        n_draws = max(map(len, eps.values()), default=1)
        q = GaussianPosterior.of({name: repeat(part, n_draws) for name, part in free.items()})
        flat = {name: e.flatten(0, 1) for name, e in eps.items()}
        y = repeat(self.y, n_draws)
        values = negative_elbo(q, self.vae, self.op, y, self.noise, flat)
        return values.unflatten(0, (n_draws, -1)).mean(0)

    @property
    def n_measured(self) -> int:
        """Numbers in the measurement of one image."""
        return self.y[0].numel()

    def of(self, rows: Tensor) -> "Objective":
        """The objective of some of the images."""
        return replace(self, y=self.y[rows])


def repeat(values: Tensor, n: int) -> Tensor:
    """The whole batch n times: (B, ...) -> (n B, ...)."""
    return values.expand(n, *values.shape).flatten(0, 1)
