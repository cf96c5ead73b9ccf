"""Exercises on likelihood: the velocity of the flow, a trace, bits per dimension."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.property_check import normal, property_check
from course_lib.rng import generator_from


@property_check(
    "velocity of the flow",
    "noise grows with time: on the way up, images must move away from where they are likely.",
    "half of g^2 times the score, with a minus: the bracket of Fokker and Planck's equation.",
)
def check_velocity(
    velocity: Callable[[Tensor, Tensor, float, float], Tensor],
) -> tuple[bool, str]:
    """velocity(x, score, f, g): followed from N(0, S) it gives the variances of the equation.

    With drift f x and diffusion g they obey dh/dt = 2 f h + g^2, and the score is -x / h.
    """
    x = normal(generator_from(0), 5000)
    x, steps, f, g = 0.5 * (x - x.mean()) / x.std(), 2000, -0.3, 0.8
    h = 0.25
    for _ in range(steps):
        x = x + velocity(x, -x / h, f, g) / steps
        h += (2 * f * h + g**2) / steps
    gap = abs(x.var().item() / h - 1)
    # Euler's method at 2000 steps, for the samples and for h
    return gap <= 0.005, f"variance {x.var().item():.4f} after a unit of time, expected {h:.4f}"


@property_check(
    "trace",
    "E e^T J e = tr J needs E e e^T = I; the product J^T e comes from `pull`.",
    "random signs: their squares are 1, so a diagonal J is answered without any error.",
)
def check_trace(
    trace: Callable[[Callable[[Tensor], Tensor], Tensor, torch.Generator], Tensor],
) -> tuple[bool, str]:
    """trace(pull, x, generator) estimates tr J from one product pull(e) = J^T e, e like x (n,)."""
    generator = generator_from(0)
    x = torch.zeros(8, dtype=torch.float64)
    diagonal = torch.linspace(0.5, 2, 8, dtype=torch.float64)
    exact = trace(lambda e: diagonal * e, x, generator)
    if abs(float(exact) - diagonal.sum().item()) > 1e-9:
        return False, f"{float(exact):.3f} for a diagonal J of trace {diagonal.sum().item():.3f}"
    J = normal(generator, 8, 8)
    draws = torch.stack([trace(lambda e: J.T @ e, x, generator) for _ in range(4000)])
    both = (J + J.T) / 2
    spread = (2 * (both.square().sum() - both.diagonal().square().sum())).sqrt().item()
    gap = abs(draws.mean().item() - J.trace().item())
    # 4.5 standard errors of 4000 draws
    return gap <= 4.5 * spread / 4000**0.5, f"mean of 4000 draws off by {gap:.3f}"


@property_check(
    "bits",
    "a grey level is a cell: its probability is the density times the cell's size, in each pixel.",
    "a cell has the side (high - low) / 256; nats become bits by a division by log 2.",
)
def check_bits(bits: Callable[[float, int, float, float], float]) -> tuple[bool, str]:
    """bits(nats, n, low, high) per dimension, for a density of images in [low, high]^n."""
    n = 12
    for low, high in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
        uniform = n * math.log(high - low)  # -log of the uniform density
        for nats, expected in ((uniform, 8.0), (uniform - n * math.log(2), 7.0)):
            found = float(bits(nats, n, low, high))
            if abs(found - expected) > 1e-9:
                where = f"[{low:g}, {high:g}]"
                return False, f"{found:.3f} instead of {expected:.0f} for a density on {where}"
    return True, "8 for uniform noise in three ranges, one less where the density doubles"
