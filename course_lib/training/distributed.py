"""Several processes that train one model: what they exchange, and nothing hidden.

Each process computes the gradient of its shards of the joint batch; one sum over all processes
makes it the gradient of the joint batch, the same everywhere, so all make the same update.
Start them with `torchrun --nproc-per-node 2 ...`.
"""

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """The processes of a run; by default this one alone."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, shards: int) -> range:
        """The shards that this process computes."""
        each = shards // self.size
        return range(self.rank * each, (self.rank + 1) * each)

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes, all in one message."""
        if self.size == 1:
            return
        flat = torch.cat([t.flatten() for t in tensors])
        dist.all_reduce(flat)
        for tensor, total in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(total.view(tensor.shape))

    def broadcast_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by that of the first process."""
        if self.size > 1:
            for tensor in tensors:
                message = tensor.contiguous()
                dist.broadcast(message, src=0)
                tensor.copy_(message)

    def barrier(self) -> None:
        """Wait for the others."""
        if self.size > 1:
            dist.barrier()


def join(device: torch.device) -> tuple[Group, torch.device]:
    """The group that torchrun started, or this process alone; and the device of this process."""
    started = dist.is_available() and dist.is_initialized()
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 and not started:
        return Group(), device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if not started:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        # Not sooner: a group that is opened a second time may find the addresses of the first.
        atexit.register(dist.destroy_process_group)
    return Group(dist.get_rank(), dist.get_world_size()), device


def is_first_process() -> bool:
    """Whether this process may write: the only one, or the first that torchrun started."""
    return os.environ.get("RANK", "0") == "0"
