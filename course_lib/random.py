"""Randomness that is passed in, never taken from a global seed."""

import torch
from torch import Generator, Tensor


def normal_like(x: Tensor, generator: Generator) -> Tensor:
    """Standard normal draws with the shape, dtype and device of x.

    The numbers are drawn on the generator's own device, so a CPU generator gives the same
    picture on every machine.
    """
    draw = torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
    return draw.to(x.device)


def check_generator(caller: str, generator: Generator) -> None:
    """Refuse None, which would silently mean the global seed."""
    if not isinstance(generator, Generator):
        raise TypeError(
            f"{caller}: expected a torch.Generator, got {type(generator).__name__}. "
            "Use generator=torch.Generator().manual_seed(0)."
        )


def generator_from(seed: int) -> Generator:
    """A fresh CPU generator, for the places where a seed is what one has."""
    return torch.Generator().manual_seed(seed)
