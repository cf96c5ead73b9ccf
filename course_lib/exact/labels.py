"""The posterior of a label, by brute force over a world of images."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.data.cache import ImageSet
from course_lib.operators import Operator


class LabelPosterior(NamedTuple):
    """What a measurement says of a label, estimated from weighted draws.

    Attributes:
        probabilities: p(label | y), (B, classes).
        effective_draws: 1 / sum of the squared weights, (B,): where it is small, a few draws decide
            and the probabilities are not to be trusted.
    """

    probabilities: Float[Tensor, "b classes"]
    effective_draws: Float[Tensor, " b"]


def label_posterior(
    op: Operator,
    y: Tensor,
    images: Tensor | ImageSet,
    labels: Tensor,
    *,
    sigma: float,
    classes: int,
    batch: int = 2000,
) -> LabelPosterior:
    """p(label | y) by brute force: each image of a world, weighted by how well it explains y.

    For (x_i, c_i) drawn from the world, the weights w_i ~ exp(-|A x_i - y|^2 / (2 sigma^2)) give
    p(c | y) = sum of w_i over c_i = c, as n grows. This is importance sampling with the prior as
    proposal, so it needs few or noisy measurements, and many draws.

    Args:
        op: any operator.
        y: measurements (B, *op.measurement_size), with white Gaussian noise.
        images: draws from the prior, (n, C, H, W).
        labels: their labels, 0 to classes - 1.
        sigma: standard deviation of the noise.
        classes: number of labels.
        batch: number of draws that are measured at a time.

    Raises:
        ValueError: sigma <= 0, or another number of labels than of images.

    Source: Robert & Casella 2004, doi:10.1007/978-1-4757-4145-2, section 3.3.
    """
    if not sigma > 0:
        raise ValueError(f"label_posterior: sigma must be positive, got {sigma}.")
    if len(labels) != len(images):
        raise ValueError(
            f"label_posterior: expected a label for each image, got {len(labels)} for "
            f"{len(images)}."
        )
    parts = torch.arange(len(images)).split(batch)
    seen = torch.cat([op.A(images[part]).flatten(1) for part in parts])
    weights = (-torch.cdist(y.flatten(1), seen).square() / (2 * sigma**2)).softmax(1)
    probabilities = weights.new_zeros(len(y), classes).index_add_(1, labels, weights)
    return LabelPosterior(probabilities, 1 / weights.square().sum(1))
