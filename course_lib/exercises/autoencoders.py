"""Exercises on autoencoders: rate, loss in nats, pictures on a screen, attention past a hole."""

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.property_check import WrongAnswer, expect_shape, normal, property_check
from course_lib.rng import generator_from


@property_check(
    "rate",
    "each latent costs 1/2 (m^2 + s^2 - 1 - log s^2) nats; the network hands you log s.",
    "sum over the latents of an image, not the mean, and not over the batch.",
)
def check_rate(rate: Callable[[Tensor, Tensor], Tensor]) -> tuple[bool, str]:
    """rate(mean, log_std) is KL(N(mean, exp(2 log_std)) || N(0, I)), one value an image."""
    mean = normal(generator_from(0), 4, 3, 2)
    log_std = 0.5 * normal(generator_from(1), 4, 3, 2)
    found = rate(mean, log_std)
    expect_shape(found, (4,))

    def log_ratio(draw: Tensor) -> Tensor:
        """log q(z) - log p(z) at z = mean + std draw, nats an image."""
        z = mean + log_std.exp() * draw
        return (0.5 * z.square() - 0.5 * draw.square() - log_std).flatten(2).sum(2)

    # A parabola in each draw: three points with the right weights have its mean exactly.
    points = torch.tensor([-(3**0.5), 0.0, 3**0.5], dtype=torch.float64).view(3, 1, 1, 1)
    weights = torch.tensor([1 / 6, 2 / 3, 1 / 6], dtype=torch.float64)
    error = (weights @ log_ratio(points) - found).abs().max().item()
    zero = rate(torch.zeros_like(mean), torch.zeros_like(mean)).abs().max().item()
    sampled = log_ratio(normal(generator_from(2), 20_000, 4, 3, 2)).mean(0)
    gap = (sampled - found).abs().max().item()
    finding = f"{gap:.2f} nats from 20000 draws of log q - log p, {zero:.0e} where q is the prior"
    if error > 1e-9:
        finding += f", {error:.0e} nats from its exact mean"
    return error <= 1e-9 and zero <= 1e-12, finding


@property_check(
    "loss in nats",
    "log N(x; D, s^2 I) has three terms: the squared error, n log s, and a constant.",
    "n mse / (2 s^2) + n log s + n/2 log(2 pi) + rate. The error is a sum over pixels here.",
)
def check_loss_in_nats(loss: Callable[[float, float, int, float], float]) -> tuple[bool, str]:
    """loss(mse, rate, n, s) is minus the ELBO of an image of n numbers with decoder noise s."""
    error = 0.3 * normal(generator_from(0), 50)
    gaps = []
    for s in (0.1, 0.7, 45.0):
        density = torch.distributions.Normal(0.0, torch.tensor(s, dtype=torch.float64))
        expected = 12.5 - density.log_prob(error).sum().item()
        gaps.append(abs(float(loss(error.square().mean().item(), 12.5, 50, s)) - expected))
    return max(gaps) <= 1e-8, f"at most {max(gaps):.0e} nats from the density of torch"


@property_check(
    "picture for the screen",
    "what is the range of the numbers, where are the channels, and what does uint8 do to 256?",
    "map [-1, 1] to [0, 255], clamp before the conversion (uint8 wraps around), round instead of "
    "cutting off, and move the channels last.",
)
def check_to_display(to_display: Callable[[Tensor], Tensor]) -> tuple[bool, str]:
    """to_display((C, H, W) in about [-1, 1]) is (H, W, C) uint8 that any viewer shows."""
    x = torch.linspace(-1.2, 1.2, 3 * 4 * 5).view(3, 4, 5)
    shown = torch.as_tensor(to_display(x))
    expect_shape(shown, (4, 5, 3))
    if shown.dtype != torch.uint8:
        raise WrongAnswer(f"the answer has the type {shown.dtype} instead of uint8")
    exact = ((x.clamp(-1, 1) + 1) * 127.5).movedim(0, -1)
    gap = (shown.float() - exact).abs().max().item()
    return gap <= 0.5 + 1e-4, f"at most {gap:.2f} grey levels from the truth, extremes included"


@property_check(
    "attention past a hole",
    "pixels inside the hole must not influence the rest: their column is 0 after the softmax.",
    "mask the scores with -inf before the softmax: then the rest of each row sums to 1 by itself. "
    "Where everything is a hole the softmax of a row of -inf is nan: make it 0.",
)
def check_attention(attention: Callable[[Tensor, Tensor], Tensor]) -> tuple[bool, str]:
    """attention(scores (N, N), lost (N,) bool) has rows that sum to 1 over valid columns."""
    scores = normal(generator_from(0), 7, 7)
    lost = torch.tensor([False, True, False, False, True, False, False])
    weights = attention(scores, lost)
    leak = weights[:, lost].abs().max().item()
    rows = (weights.sum(1) - 1).abs().max().item()
    plain = scores[:, ~lost].softmax(1)
    gap = (weights[:, ~lost] - plain).abs().max().item()
    nothing = attention(scores, torch.ones_like(lost))
    finite = bool((nothing == 0).all())
    finding = f"leak {leak:.0e}, rows off by {rows:.0e}, "
    finding += "zeros if all is lost" if finite else "not zero if all is lost"
    return max(leak, rows, gap) <= 1e-12 and finite, finding
