"""The registry of formulas of higher folders that have a faster twin among the kernels."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import Tensor

from course_lib.kernels.backend import choose_backend

Formula = Callable[[Any, Tensor], Tensor]  # a method of a functional: (self, x) -> Tensor
TWINS: dict[str, tuple[Formula, Formula]] = {}  # name of the method -> formula, twin


def has_twin(twin: Formula, *, differentiable: bool = False) -> Callable[[Formula], Formula]:
    """Register a twin of the formula below; it runs wherever a compiled kernel serves x.

    The formula itself runs on other devices and dtypes, and where a gradient is recorded, unless
    the twin is differentiable as well.
    """

    def decorate(formula: Formula) -> Formula:
        TWINS[formula.__qualname__] = formula, twin

        @wraps(formula)
        def either(self: Any, x: Tensor) -> Tensor:
            compiled = choose_backend("auto", x.detach() if differentiable else x) != "reference"
            return (twin if compiled else formula)(self, x)

        return either

    return decorate
