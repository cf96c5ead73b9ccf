"""A bridge to deepinv, for those who want its algorithms to run on our operators."""

from typing import Any

import torch
from torch import Tensor

from course_lib.operators.base import LinearOperator
from course_lib.operators.noise import GaussianNoise, PoissonNoise
from course_lib.operators.torchvision_shim import make_torchvision_importable


def to_deepinv(op: LinearOperator) -> Any:
    """Wrap a linear operator as a `deepinv.physics.LinearPhysics`.

    Most of deepinv runs on our operators by duck typing, since the method names agree; the wrapper
    serves where it checks the class. `A`, `A_adjoint`, `A_dagger`, `prox_l2` and the noise model
    are ours; as in deepinv, the z of `prox_l2` may be a number or None, and gamma one per image.

    Raises:
        ImportError: deepinv is not installed, or cannot be imported.
        TypeError: op is not linear.
    """
    if not isinstance(op, LinearOperator):
        raise TypeError(f"to_deepinv: {type(op).__name__} is not linear.")
    try:
        make_torchvision_importable()
        import deepinv
    except (ImportError, RuntimeError) as error:  # torchvision raises the latter beside CPU torch
        raise ImportError(
            f"to_deepinv needs the package deepinv, and importing it failed ({error}). "
            "Install it with `pip install deepinv`, torch and torchvision from one index."
        ) from error

    class Wrapped(deepinv.physics.LinearPhysics):
        """deepinv's view of one of our operators."""

        def __init__(self) -> None:
            noise = None
            if isinstance(op.noise_model, GaussianNoise):
                noise = deepinv.physics.GaussianNoise(sigma=op.noise_model.sigma)
            elif isinstance(op.noise_model, PoissonNoise):
                noise = deepinv.physics.PoissonNoise(gain=op.noise_model.gain)
            # deepinv annotates its default, where any noise model serves.
            super().__init__(
                noise_model=noise,  # pyright: ignore[reportArgumentType]
                img_size=op.img_size,
            )

        def A(self, x: Tensor, **_: Any) -> Tensor:
            return op.A(x)

        def A_adjoint(self, y: Tensor, **_: Any) -> Tensor:
            return op.A_adjoint(y)

        def A_dagger(self, y: Tensor, **_: Any) -> Tensor:
            return op.A_dagger(y)

        def prox_l2(
            self, z: Tensor | float | None, y: Tensor, gamma: Tensor | float, **_: Any
        ) -> Tensor:
            if not isinstance(z, torch.Tensor):
                z = torch.full_like(op.A_adjoint(y), z or 0.0)
            gammas = gamma.flatten().tolist() if isinstance(gamma, torch.Tensor) else [gamma]
            if len(gammas) == 1:
                return op.prox_l2(z, y, gammas[0])
            return torch.stack([op.prox_l2(*one) for one in zip(z, y, gammas, strict=True)])

    return Wrapped()
