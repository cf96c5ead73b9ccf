"""Random data in double precision, on which the exercises test a property."""

import torch
from torch import Generator, Tensor


def normal(generator: Generator, *shape: int) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def uniform(generator: Generator, *shape: int) -> Tensor:
    """Numbers between 0 and 1, of uniform distribution."""
    return torch.rand(*shape, generator=generator, dtype=torch.float64)
