"""A network whose weights lie in memory as its convolutions read them."""

from copy import copy
from typing import Any

import torch
from torch import Tensor, nn


def in_channels_last(model: Any) -> Any:
    """A copy of a network with channels last: the same numbers, up to twice as fast on a CPU.

    The copy has weights of its own, which need no gradient, and shares whatever else its modules
    hold. A model that is no `nn.Module` is returned itself.
    """
    if not isinstance(model, nn.Module):
        return model
    twin = copy(model)
    for kind in ("_parameters", "_buffers"):
        setattr(twin, kind, {name: _laid_out(part) for name, part in getattr(model, kind).items()})
    twin._modules = {name: in_channels_last(part) for name, part in model._modules.items()}
    return twin


def _laid_out(part: Tensor | None) -> Tensor | None:
    four = part is not None and part.ndim == 4
    layout = torch.channels_last if four else torch.preserve_format
    return None if part is None else part.detach().clone(memory_format=layout)
