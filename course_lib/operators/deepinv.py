"""A bridge to deepinv, for those who want its algorithms to run on our operators."""

from course_lib.operators.base import LinearOperator


def to_deepinv(op: LinearOperator):
    """Wrap a linear operator as a `deepinv.physics.LinearPhysics`.

    Most of deepinv runs on our operators by duck typing, since the method names agree; the wrapper
    serves where it checks the class. `A`, `A_adjoint`, `A_dagger`, `prox_l2` and the noise
    standard deviation are ours.

    Raises:
        ImportError: deepinv is not installed, or cannot be imported.
        TypeError: op is not linear.
    """
    if not isinstance(op, LinearOperator):
        raise TypeError(f"to_deepinv: {type(op).__name__} is not linear.")
    try:
        import deepinv
    except (ImportError, RuntimeError) as error:  # torchvision raises the latter beside CPU torch
        raise ImportError(
            f"to_deepinv needs the package deepinv, and importing it failed ({error}). "
            "Install it with `pip install deepinv`, torch and torchvision from one index."
        ) from error

    class Wrapped(deepinv.physics.LinearPhysics):
        """deepinv's view of one of our operators."""

        def __init__(self) -> None:
            sigma = getattr(op.noise_model, "sigma", None)
            noise = None if sigma is None else deepinv.physics.GaussianNoise(sigma=sigma)
            super().__init__(noise_model=noise)

        def A(self, x, **_):
            return op.A(x)

        def A_adjoint(self, y, **_):
            return op.A_adjoint(y)

        def A_dagger(self, y, **_):
            return op.A_dagger(y)

        def prox_l2(self, z, y, gamma, **_):
            return op.prox_l2(z, y, float(gamma))

    return Wrapped()
