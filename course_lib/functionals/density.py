"""Penalties as densities: the weight of R in exp(-lam R(x)) / Z(lam)."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

Penalty = Callable[[Tensor], Tensor]


def fitted_potential(penalty: Penalty, x: Float[Tensor, "b c h w"]) -> Penalty:
    """lam R, with the lam for which exp(-lam R) / Z(lam) makes the images x most likely.

    For R homogeneous of degree 1 and images of n numbers, Z is proportional to lam^-n (up to the
    constant images, on which R does not depend), so -log p = lam R - n log lam + constant, and
    lam = n / mean R. The potential is known up to a constant.
    """
    lam = x[0].numel() / penalty(x).mean()
    return lambda images: lam * penalty(images)
