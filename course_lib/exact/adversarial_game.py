r"""The adversarial game between laws on finitely many points, solved exactly.

    min_G max_C  V = sum_x p(x) log C(x) + p_G(x) log(1 - C(x)),    0 < C < 1.

For given laws the terms of different x do not meet: a log c + b log(1 - c) is greatest at
c = a / (a + b), and the value there is twice the Jensen-Shannon divergence minus 2 log 2.

Source: Goodfellow et al. 2014, arXiv:1406.2661, Proposition 1 and Theorem 1.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def best_discriminator(p: Float[Tensor, "..."], drawn: Float[Tensor, "..."]) -> Tensor:
    """p / (p + p_G) at each point; 1/2 where neither law has any mass.

    With labels, p and p_G are the joint laws of image and label: if drawn labels have other
    frequencies than those of the data, the discriminator judges by them too.

    Args:
        p: probabilities of real images, or their density at some points.
        drawn: p_G, those of drawn images at the same points.

    Raises:
        ValueError: other shapes, or negative probabilities.
    """
    if p.shape != drawn.shape or not ((p >= 0) & (drawn >= 0)).all():
        raise ValueError(
            "best_discriminator: expected two laws of one shape, with probabilities >= 0, got "
            f"shapes {tuple(p.shape)} and {tuple(drawn.shape)}."
        )
    both = p + drawn
    return torch.where(both > 0, p / both.clamp(min=torch.finfo(p.dtype).tiny), 0.5)


def game_value(c: Float[Tensor, "..."], p: Float[Tensor, "..."], drawn: Tensor) -> float:
    """V, nats; minus infinity where C gives up on a point that occurs."""
    return (torch.xlogy(p, c) + torch.xlogy(drawn, 1 - c)).sum().item()


def jensen_shannon(p: Float[Tensor, "..."], drawn: Float[Tensor, "..."]) -> float:
    """KL(p || m) / 2 + KL(p_G || m) / 2 with m = (p + p_G) / 2: between 0 and log 2, nats."""
    return game_value(best_discriminator(p, drawn), p, drawn) / 2 + math.log(2)
