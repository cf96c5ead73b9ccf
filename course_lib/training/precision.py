"""Number formats of a training: bfloat16 where the hardware multiplies in it, no denormals."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the hardware has instructions for bfloat16; elsewhere it would be slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


@contextmanager
def flushed_denormals(device: torch.device) -> Iterator[None]:
    """Numbers below 1e-38, common in Adam's averages, cost a CPU a hundred times the time."""
    flushed = device.type == "cpu" and torch.set_flush_denormal(True)
    try:
        yield
    finally:
        if flushed:
            torch.set_flush_denormal(False)
