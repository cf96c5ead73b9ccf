"""Refusals that every solver and method shares: what was expected, what came, what to do."""

import math

from torch import Tensor

from course_lib.protocols import Linear, Measuring


def check_tensor(where: str, value: object) -> None:
    """Refuse what is no torch tensor, such as an array."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{where}: expected a torch tensor, got {type(value).__name__}. "
            "For a numpy array use torch.from_numpy."
        )


def check_start(name: str, x: Tensor, what: str = "x0") -> None:
    """Refuse a starting point that is no batch of tensors or holds NaN or inf."""
    check_tensor(f"{name}: {what}", x)
    if x.ndim < 2:
        raise ValueError(
            f"{name}: {what} needs a leading batch axis, got shape {tuple(x.shape)}. "
            f"Use {what}.unsqueeze(0) for a single image."
        )
    # NaN and infinity survive a sum, which is ten times cheaper than a look at every value.
    if not x.sum().isfinite() and not x.isfinite().all():
        bad = (~x.isfinite()).sum().item()
        raise ValueError(
            f"{name}: {what} holds {bad} values that are NaN or infinite. "
            "Find where they arise before you solve."
        )


def check_measurement(name: str, op: Measuring, y: Tensor) -> None:
    """Refuse a y that is no batch of measurements of op, or not finite."""
    check_start(name, y, "y")
    size = tuple(op.measurement_size)
    if tuple(y.shape[1:]) != size:
        raise ValueError(
            f"{name}: expected y of shape (B, {', '.join(map(str, size))}) for "
            f"{type(op).__name__}, got {tuple(y.shape)}."
        )


def check_linear(name: str, op: object, remedy: str) -> Linear:
    """op itself; refuse one that is not linear, and so has no adjoint."""
    if not isinstance(op, Linear):
        raise TypeError(f"{name}: {type(op).__name__} is not linear. {remedy}")
    return op


def check_not_negative(name: str, **numbers: float) -> None:
    """Refuse numbers that are negative, infinite or NaN."""
    for what, value in numbers.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name}: {what} must be a finite number >= 0, got {value}.")
