"""How an operator acts on a set of images: the extremes of its gain over differences."""

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.operators.base import LinearOperator


def restricted_singular_values(
    op: LinearOperator, x: Float[Tensor, "n c h w"]
) -> tuple[float, float]:
    """Least and largest |A (x_i - x_j)| / |x_i - x_j| over all pairs of n >= 2 different images.

    Where the least one is positive on all of a set, noiseless measurements tell its images apart.

    Source: Bora et al. 2017, arXiv:1703.03208 (set-restricted eigenvalue condition).
    """
    ratios = torch.pdist(op.A(x).flatten(1)) / torch.pdist(x.flatten(1))
    return ratios.min().item(), ratios.max().item()
