"""The point ahead of the last iterate from which an accelerated step is taken."""

import torch
from torch import Tensor

from course_lib.batch import inner, per_image


class Momentum:
    """x -> z = x + beta (x - x_old), called once for each iterate, x_0 first.

    beta = (t - 1) / t_new with t_new = (1 + sqrt(1 + 4 t^2)) / 2 grows from 0 towards 1. It starts
    again from t = 1, image by image, whenever the step went against the momentum,
    <z_old - x, x - x_old> > 0. An image that does not move is a fixed point: z = x.

    Source: Beck & Teboulle 2009, doi:10.1137/080716542; O'Donoghue & Candès 2015,
    doi:10.1007/s10208-013-9150-3 (restarts).
    """

    def __init__(self) -> None:
        self.last: tuple[Tensor, Tensor, Tensor] | None = None  # x, z, t

    def __call__(self, x: Tensor) -> Tensor:
        """The point z ahead of x."""
        if self.last is None:
            z, t_new = x, torch.ones(len(x), dtype=x.dtype, device=x.device)
        else:
            x_old, z_old, t = self.last
            step = x - x_old
            t = torch.where(inner(z_old - x, step) > 0, 1, t)
            t_new = (1 + (1 + 4 * t.square()).sqrt()) / 2
            z = x + per_image((t - 1) / t_new, x) * step
        self.last = x, z, t_new
        return z
