"""Which of its implementations a kernel runs, where, and on how many threads."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

Backend = Literal["auto", "reference", "numba", "triton"]
BACKENDS = get_args(Backend)
COMPILED_DTYPES = (torch.float32, torch.float64)


def choose_backend(
    backend: Backend,
    x: Tensor,
    *others: Tensor,
    cpu: Backend = "numba",
    cuda: Backend = "triton",
) -> Backend:
    """The implementation that a kernel runs on x: "reference", "numba" or "triton".

    "auto" takes `cpu` for a tensor on the CPU and `cuda` for one on a GPU, and the reference
    wherever these cannot serve: not installed, another device, another dtype than float32 and
    float64, or a gradient with respect to x or another input is being recorded.

    Raises:
        ValueError: an unknown name, or a named implementation that cannot serve x, with the reason.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}.")
    if backend == "auto":
        offers: dict[str, Backend] = {"cpu": cpu, "cuda": cuda}
        wanted = offers.get(x.device.type, "reference")
        return "reference" if obstacle(wanted, x, *others) else wanted
    if reason := obstacle(backend, x, *others):
        raise ValueError(f'backend="{backend}": {reason}')
    return backend


def obstacle(backend: Backend, x: Tensor, *others: Tensor) -> str:
    """Why an implementation cannot serve x and what to do; empty if it can."""
    if backend == "reference":
        return ""
    if not installed(backend):
        return f'{backend} is not installed. Run "pip install {backend}", or use backend="auto".'
    if x.dtype not in COMPILED_DTYPES:
        return (
            f"expected float32 or float64, got {x.dtype}. "
            'Convert with x.float(), or use backend="reference".'
        )
    if any(map(needs_gradient, (x, *others))):
        return (
            "it records no gradient, and an input requires one. "
            'Use backend="auto" (the reference then runs), or call it under torch.no_grad().'
        )
    if backend == "numba" and x.device.type != "cpu":
        return f'expected a tensor on the CPU, got {x.device}. Use x.cpu(), or backend="auto".'
    if backend == "triton" and not (x.device.type == "cuda" or interpreting()):
        return (
            f"expected a tensor on a GPU, got {x.device}. Use x.cuda() on a machine with a GPU, or "
            'backend="auto". To step through it on a CPU, set TRITON_INTERPRET=1 before Python '
            "starts."
        )
    return ""


def needs_gradient(x: Tensor) -> bool:
    """Whether autograd is recording what happens to x."""
    return torch.is_grad_enabled() and x.requires_grad


def implementation(kernel: str, backend: Backend) -> ModuleType:
    """The module that holds one implementation of a kernel, such as "simplex" and "numba"."""
    return import_module(f"course_lib.kernels.{kernel}._{backend}")


@cache
def installed(package: str) -> bool:
    """Whether the package can be imported."""
    return find_spec(package) is not None


def interpreting() -> bool:
    """Whether Triton runs its programs in Python, on any device (TRITON_INTERPRET=1)."""
    from triton import knobs

    return bool(knobs.runtime.interpret)


def on_device_of(x: Tensor) -> AbstractContextManager:
    """The context in which x's device is the current one, where Triton launches its programs."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def as_array(x: Tensor) -> np.ndarray:
    """The numbers of a tensor on the CPU, contiguous, for Numba."""
    return x.detach().contiguous().numpy()


def launch(serial: Callable[..., None], parallel: Callable[..., None], *arguments: object) -> None:
    """Run a Numba loop on the threads of torch; one thread starts no pool, as a fork could not."""
    threads = torch.get_num_threads()
    if threads == 1:
        serial(*arguments)
    else:
        with numba_threads(threads):
            parallel(*arguments)


@contextmanager
def numba_threads(n: int) -> Iterator[None]:
    """Let Numba's parallel loops use n threads, and leave the threads of torch as they were.

    Starting Numba's OpenMP pool changes torch.get_num_threads() where both share one runtime.
    """
    import numba
    from numba.core import config

    ours = torch.get_num_threads()
    before = numba.get_num_threads()
    # Numba fills its configuration when it is imported: no stub knows the names.
    most = config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]
    numba.set_num_threads(min(n, most))
    try:
        yield
    finally:
        numba.set_num_threads(before)
        if torch.get_num_threads() != ours:
            torch.set_num_threads(ours)
