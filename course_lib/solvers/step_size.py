"""The fixed step of a descent: the one that was given, or the inverse of the curvature."""

from course_lib.protocols import Smooth


def fixed_step(name: str, f: Smooth, step_size: float | None, limit: str = "2 / L") -> float:
    """The step that was given, or 1 / f.lipschitz; an error if there is neither."""
    if step_size is None:
        bound: float | None = getattr(f, "lipschitz", None)
        if bound is None:
            raise TypeError(
                f"{name}: {type(f).__name__} has no attribute `lipschitz`, so there is no default "
                f"step. Give step_size as a number below {limit}."
            )
        if not bound > 0:
            raise ValueError(
                f"{name}: f.lipschitz is {bound}, so there is no default step. "
                "A functional with a constant gradient has no curvature: give step_size."
            )
        return 1 / bound
    if isinstance(step_size, str) or not step_size > 0:
        raise ValueError(
            f"{name}: step_size must be a positive number or None (and in gradient_descent "
            f"'optimal'), got {step_size!r}. Descent is guaranteed below {limit}."
        )
    return step_size
