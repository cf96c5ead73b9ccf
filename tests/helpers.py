"""Properties that many tests ask for, written once."""

from collections.abc import Callable

import torch
from torch import Tensor


def assert_batch_independent(
    f: Callable[[Tensor], Tensor], x: Tensor, *, rtol: float = 1e-12, atol: float = 0.0
) -> None:
    """Each image's answer is the same alone, in a batch, and in a batch turned round."""
    together = f(x)
    alone = torch.cat([f(image) for image in x.split(1)])
    torch.testing.assert_close(alone, together, rtol=rtol, atol=atol)
    torch.testing.assert_close(f(x.flip(0)).flip(0), together, rtol=rtol, atol=atol)
