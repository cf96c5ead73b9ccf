"""What tests share: one thread a worker, checked shapes, a generator."""

import os
import pkgutil

for library in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # pytest-xdist keeps the cores busy

import hypothesis
import pytest
from jaxtyping import install_import_hook

import course_lib

CHECKED = [
    f"course_lib.{module.name}"
    for module in pkgutil.iter_modules(course_lib.__path__)
    if module.name not in ("kernels", "__main__")  # the hook would wrap compiled functions
]
install_import_hook(CHECKED, "typechecker.check")
hypothesis.settings.register_profile("course", deadline=None)  # the cores are shared
hypothesis.settings.load_profile("course")


@pytest.fixture
def generator():
    """A fresh torch.Generator with a fixed seed."""
    import torch

    return torch.Generator().manual_seed(0)
