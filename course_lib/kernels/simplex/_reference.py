"""The projection by a sort: tau is the mean of the rho largest entries, less 1/rho."""

import torch
from torch import Tensor


def project(v: Tensor) -> Tensor:
    """(B, n) -> (B, n)."""
    v = v - v.amax(-1, keepdim=True)  # p does not change, and rounding is relative to p
    largest, _ = v.sort(-1, descending=True)
    k = torch.arange(1, v.shape[-1] + 1, device=v.device, dtype=v.dtype)
    tau = (largest.cumsum(-1) - 1) / k  # what tau would be if the support had k entries
    rho = (largest > tau).sum(-1, keepdim=True)
    return (v - tau.gather(-1, (rho - 1).clamp(min=0))).clamp(min=0)
