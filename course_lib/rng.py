"""Randomness that is passed in, never taken from a global seed."""

import numpy as np
import torch
from torch import Generator, Tensor


def normal_like(x: Tensor, generator: Generator) -> Tensor:
    """Standard normal draws with the shape, dtype and device of x.

    The numbers are drawn on the generator's own device, so a CPU generator gives the same
    picture on every machine.

    Raises:
        TypeError: no generator.
    """
    check_generator("normal_like", generator)
    draw = torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
    return draw.to(x.device)


def check_generator(caller: str, generator: Generator | None) -> Generator:
    """The generator; None, which would silently mean the global seed, is refused."""
    if not isinstance(generator, Generator):
        raise TypeError(
            f"{caller}: expected a torch.Generator, got {type(generator).__name__}. "
            "Use generator=torch.Generator().manual_seed(0)."
        )
    return generator


def generator_from(seed: int) -> Generator:
    """A fresh CPU generator, for the places where a seed is what one has."""
    return torch.Generator().manual_seed(seed)


def counter_uniform(seed: int, index: Tensor, n: int, *, stream: int = 0) -> Tensor:
    """n uniform numbers in [0, 1) for each index, each a function of (seed, stream, index, column).

    Row i depends on index[i] alone: not on the batch, its order or its size. So a procedural
    image number 17 is the same image whoever asks for it, and a set of images has no end.

    Args:
        seed: names the whole set.
        index: (B,) non-negative integers, which rows.
        n: number of values a row; the first ones do not depend on n.
        stream: independent draws for another purpose.

    Returns:
        (B, n) float32, on a grid of 2^-24.

    Raises:
        ValueError: a negative seed.

    Source: the output function of SplitMix64 on a counter; Steele, Lea & Flood 2014,
    doi:10.1145/2660193.2660195.
    """
    if seed < 0:
        raise ValueError(f"counter_uniform: seed must be 0 or more, got {seed}.")
    bits = _counter_bits(seed, index, n, stream)
    return torch.from_numpy((bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-24))


def counter_normal(seed: int, index: Tensor, n: int, *, stream: int = 0) -> Tensor:
    """As `counter_uniform`, but standard normal: (B, n) float32, by Box and Muller's formula."""
    half = (n + 1) // 2
    u = counter_uniform(seed, index, 2 * half, stream=stream).double()
    radius = (-2 * torch.log1p(-u[:, 0::2])).sqrt()
    angle = 2 * torch.pi * u[:, 1::2]
    pairs = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1)
    return pairs.flatten(1)[:, :n].float()


def _counter_bits(seed: int, index: Tensor, n: int, stream: int) -> np.ndarray:
    golden = np.uint64(0x9E3779B97F4A7C15)
    rows = index.cpu().numpy().astype(np.uint64)
    with np.errstate(over="ignore"):
        base = _mix(np.array([seed], np.uint64) * golden + np.uint64(stream))
        keys = _mix(base ^ _mix((rows + np.uint64(1)) * golden))
        return _mix(keys[:, None] + (np.arange(n, dtype=np.uint64) + np.uint64(1)) * golden)


def _mix(z: np.ndarray) -> np.ndarray:
    """A bijection of 64-bit words that sends near words far apart."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
