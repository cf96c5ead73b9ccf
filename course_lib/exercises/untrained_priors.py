"""Exercises on untrained priors: filter factors, a moving variance, a receptive field."""

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.property_check import expect_shape, normal, property_check
from course_lib.rng import generator_from


@property_check(
    "filter factors",
    "along one singular value the iteration is theta <- theta - tau s (s theta - c): solve it.",
    "the error shrinks by (1 - tau s^2) in each step, and starts at 1.",
)
def check_filter_factors(factor: Callable[[Tensor, float, int], Tensor]) -> tuple[bool, str]:
    """factor(s, tau, k) is the part of u_i^T y that k steps on |M theta - y|^2 / 2 let through."""
    generator = generator_from(0)
    M = normal(generator, 6, 9) / 3
    y = normal(generator, 6)
    U, s, _ = torch.linalg.svd(M, full_matrices=False)
    tau, theta, gaps = 1 / s[0].item() ** 2, torch.zeros(9, dtype=torch.float64), []
    for k in range(1, 41):
        theta = theta - tau * M.T @ (M @ theta - y)
        found = torch.as_tensor(factor(s, tau, k))
        expect_shape(found, s.shape)
        gaps.append((U @ (found * (U.T @ y)) - M @ theta).norm().item())
    return max(gaps) <= 1e-10, f"at most {max(gaps):.0e} from 40 steps of descent"


@property_check(
    "moving variance",
    "each window has a mean of its own; take squares about that one.",
    "divide by w (not w - 1), then average over the pixels; the first window ends at step w.",
)
def check_moving_variance(variance: Callable[[Tensor, int], Tensor]) -> tuple[bool, str]:
    """variance(x (steps, pixels), w) is the mean over pixels of the variance in each window."""
    x = normal(generator_from(0), 12, 7)
    found = variance(x, 5)
    expect_shape(found, (8,))
    # The variance is half the mean squared distance of two members of the window.
    pairs = torch.stack(
        [torch.cdist(x[i : i + 5], x[i : i + 5]).square().mean() / 14 for i in range(8)]
    )
    gap = (found - pairs).abs().max().item()
    shift = (variance(x + 3.0, 5) - found).abs().max().item()
    return max(gap, shift) <= 1e-10, f"{gap:.0e} from half the mean squared distance of pairs"


@property_check(
    "receptive field",
    "one layer of k pixels sees k; the next one sees k - 1 more of *its* pixels on top.",
    "a stride s makes the pixels of all later layers s input pixels apart.",
)
def check_receptive_field(
    receptive_field: Callable[[list[int], list[int]], int],
) -> tuple[bool, str]:
    """receptive_field(sizes, strides) counts the input pixels behind one output number."""
    wrong = {}
    for sizes, strides in (
        ([3], [1]),
        ([3] * 5, [1] * 5),
        ([4, 4, 4], [2, 2, 1]),
        ([5, 3, 3], [1, 2, 1]),
        ([4, 4, 4, 4, 4], [2, 2, 2, 1, 1]),
    ):
        x = torch.ones(1, 1, 200, requires_grad=True)
        out = x
        for size, stride in zip(sizes, strides, strict=True):
            out = torch.nn.functional.conv1d(out, torch.ones(1, 1, size), stride=stride)
        (slope,) = torch.autograd.grad(out[0, 0, out.shape[-1] // 2], x)
        if (seen := int((slope != 0).sum())) != (found := receptive_field(sizes, strides)):
            wrong[f"{sizes}, strides {strides}"] = f"{found} instead of {seen}"
    if wrong:
        return False, "; ".join(f"{stack}: {words}" for stack, words in wrong.items())
    return True, "five stacks of layers agree with the support of their gradients"
