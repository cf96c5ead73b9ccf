"""A point ahead of the last one, from which the next step is taken."""

import torch
from torch import Tensor

from course_lib.batch import inner, per_image


class Momentum:
    """z = x + beta (x - x_old), with the growing beta of accelerated gradients, image by image.

    beta starts again from 0 whenever a step goes against the momentum. Without momentum z = x. A
    point that does not move is a fixed point with momentum as without.

    Source: Beck & Teboulle 2009, doi:10.1137/080716542; O'Donoghue & Candès 2015,
    doi:10.1007/s10208-013-9150-3 (restarts).
    """

    def __init__(self, x: Tensor, on: bool) -> None:
        self.x = self.ahead = x
        self.on = on
        self.t = torch.ones(len(x), dtype=x.dtype, device=x.device)

    def move(self, x: Tensor) -> None:
        """To x, the result of a step from `ahead`."""
        if not self.on:
            self.x = self.ahead = x
            return
        step = x - self.x
        t = torch.where(inner(self.ahead - x, step) > 0, 1, self.t)
        self.t = (1 + (1 + 4 * t.square()).sqrt()) / 2
        self.x, self.ahead = x, x + per_image((t - 1) / self.t, x) * step
