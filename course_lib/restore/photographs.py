r"""A photograph of any size and shape, restored: y = seen * ((k * x) at every s-th pixel) + noise.

Its scene goes on beyond the border, so the convolution is not periodic. Hence x lives on a canvas
that is larger by the reach of the kernel; what lies outside the photograph is not seen, and only
there does the periodic blur of the canvas wrap around. A colour photograph is restored as three
grey ones, (R + G + B) / 3 and two differences of colours, since the priors know grey images. The
matrix is orthogonal but for a factor 1 / sqrt(3), so white noise of standard deviation sigma stays
white, with sigma / sqrt(3) in all three.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from course_lib.operators import (
    Blur,
    Composition,
    Denoising,
    Downsampling,
    GaussianNoise,
    Inpainting,
    LinearOperator,
)

OPPONENT_COLOURS = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [1.0, 1.0, -2.0]])
OPPONENT_COLOURS = OPPONENT_COLOURS / OPPONENT_COLOURS.norm(dim=1, keepdim=True)  # orthogonal
MIDDLE = torch.tensor([0.0, 0.5, 0.5]).view(3, 1, 1)  # equal colours have differences of mid grey


@dataclass(frozen=True, eq=False)
class Degradation:
    """What stands between a scene x and its photograph y.

    Args:
        sigma: standard deviation of the noise, for images in [0, 1].
        kernel: blur (1, 1, h, w) on the grid of x; None for none.
        factor: s; a photograph of H x W pixels shows a scene of s H x s W.
        seen: (1, H, W), True where the photograph shows something; everywhere if None.
    """

    sigma: float
    kernel: Tensor | None = None
    factor: int = 1
    seen: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Restoration:
    """A restored photograph, values around [0, 1], not clipped.

    Attributes:
        estimate: (C, H, W).
        samples: (n, C, H, W), draws of what the scene may have been; none from a point estimate.
        data_fidelity: root mean square of (A estimate - y) / sigma over what is seen. Much more
            than 1 says that kernel or sigma are not those of the photograph.
        std: standard deviation of each number of the estimate; None from a point estimate.
        weight: weight of the penalty, where the method has one.
    """

    estimate: Float[Tensor, "c h w"]
    samples: Float[Tensor, "n c h w"]
    data_fidelity: float
    std: Float[Tensor, "c h w"] | None = None
    weight: float | None = None


class PaddedProblem(NamedTuple):
    """Grey photographs on a canvas."""

    op: LinearOperator
    y: Float[Tensor, "b 1 h w"]  # 0 where nothing is seen
    seen: Tensor  # (1, h, w)
    window: tuple[slice, slice]  # where the photographs' scene lies on the canvas
    inside: tuple[slice, slice]  # where the photographs lie in y
    gain: float  # an upper bound of |op|
    degradation: Degradation

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise."""
        return self.degradation.sigma

    def greys(self) -> Iterator["PaddedProblem"]:
        """Each photograph on its own."""
        return (self._replace(y=y) for y in self.y.split(1))

    def part(self, side: int, stride: int = 1) -> "PaddedProblem":
        """A square of `side` pixels of the photographs, about as lively as the whole of them."""
        rows, columns = _typical_part(self.y[..., *self.inside], self._seen, side)
        part = replace(self.degradation, seen=self._seen[:, rows, columns])
        return on_canvas(self.y[..., *self.inside][..., rows, columns], part, stride)

    @property
    def _seen(self) -> Tensor:
        return self.seen[:, *self.inside]

    def photo(self, x: Float[Tensor, "b 1 H W"]) -> Float[Tensor, "c h w"]:
        """Grey canvases as one photograph."""
        x = x[:, :, *self.window]
        return from_greys(x) if len(x) == 3 else x[0]

    def data_fidelity(self, x: Float[Tensor, "b 1 H W"]) -> float:
        """Root mean square of (A x - y) / sigma over what is seen."""
        residual = (self.op.A(x) - self.y).square().sum()  # 0 where nothing is seen
        return (residual / (len(x) * self.seen.sum())).sqrt().item() / self.sigma

    def restoration(
        self, x: Float[Tensor, "b 1 H W"], *, samples: Sequence[Tensor] = (), **found: Any
    ) -> Restoration:
        """The photograph of an estimate x, with what else was found."""
        estimate = self.photo(x)
        drawn = torch.stack(tuple(samples)) if samples else estimate[None][:0]
        return Restoration(estimate, drawn, self.data_fidelity(x), **found)


@runtime_checkable
class Method(Protocol):
    """A way to restore grey photographs on a canvas."""

    @property
    def stride(self) -> int:
        """The sides of a canvas are multiples of it."""
        ...

    @property
    def device(self) -> torch.device | str:
        """Where the arithmetic is done."""
        ...

    @property
    def facts(self) -> dict[str, str | int | None]:
        """What a report says of the method."""
        ...

    def restore(self, problem: PaddedProblem, *, progress: bool) -> Restoration:
        """The photograph, with a bar if wanted."""
        ...


def on_canvas(
    photo: Float[Tensor, "b 1 h w"], degradation: Degradation, stride: int = 1
) -> PaddedProblem:
    """The operator of photographs that share a degradation, periodic on a larger canvas.

    The canvas has room for the reach of the kernel on every side; its sides are multiples of
    `stride`.
    """
    s, kernel = degradation.factor, degradation.kernel
    reach = (0, 0) if kernel is None else (kernel.shape[-2] // 2, kernel.shape[-1] // 2)
    step = math.lcm(stride, s)
    canvas, inside, window = [], [], []
    for side, r in zip(photo.shape[-2:], reach, strict=True):
        before = -(-r // s)  # in pixels of the photograph
        canvas.append(-(-(s * (before + side) + r) // step) * step)
        inside.append(slice(before, before + side))
        window.append(slice(s * before, s * (before + side)))
    size = (1, canvas[0], canvas[1])
    if s > 1:
        camera = Downsampling(size, s, kernel)
    elif kernel is not None:
        camera = Blur(kernel, size)
    else:
        camera = Denoising(size)
    seen = torch.zeros(camera.measurement_size, dtype=torch.bool, device=photo.device)
    y = photo.new_zeros(len(photo), *camera.measurement_size)
    seen[:, *inside] = True if degradation.seen is None else degradation.seen.bool().to(seen.device)
    y[:, :, *inside] = photo
    mask = Inpainting(seen, GaussianNoise(degradation.sigma))
    op = mask if isinstance(camera, Denoising) else Composition(mask, camera)
    places = tuple(window), tuple(inside)
    return PaddedProblem(op, mask.A(y), seen, *places, camera.norm(), degradation)


def _typical_part(photo: Tensor, seen: Tensor, side: int) -> tuple[slice, slice]:
    """Where the mean square difference of neighbours is nearest to that of the whole photograph.

    Squares of which less than half as much is seen as of the photograph are left out.
    """
    height, width = (min(side, length) for length in photo.shape[-2:])
    size = {"kernel_size": (height, width), "stride": max(side // 2, 1)}
    both = (seen[:, 1:, 1:] & seen[:, :-1, 1:] & seen[:, 1:, :-1]).to(photo)
    here = photo[..., 1:, 1:]
    steps = (here - photo[..., :-1, 1:]).square() + (here - photo[..., 1:, :-1]).square()
    steps, both = (pad(t, (1, 0, 1, 0)) for t in ((steps * both).mean(0), both))
    energy = avg_pool2d(steps, **size) / avg_pool2d(both, **size).clamp(min=1e-6)
    share = avg_pool2d(seen.to(photo), **size)
    distance = (energy.clamp(min=1e-12) * both.mean() / steps.mean().clamp(min=1e-12)).log().abs()
    distance[share < seen.to(photo).mean() / 2] = math.inf
    row, column = divmod(int(distance.argmin()), distance.shape[-1])
    top, left = row * size["stride"], column * size["stride"]
    return slice(top, top + height), slice(left, left + width)


def restore_photo(
    photo: Float[Tensor, "c h w"],
    degradation: Degradation,
    method: Method,
    *,
    progress: bool = False,
) -> Restoration:
    """Restore one photograph, grey or in colour.

    Args:
        photo: y, C = 1 or 3, values in [0, 1].
        degradation: how it came about.
        method: `DenoisingPrior`, `VariationalBayes` or `Penalty`.
        progress: show a bar.

    Raises:
        ValueError: a photograph that is neither grey nor in colour.
        ArithmeticError: the method left the finite numbers.
    """
    if photo.ndim != 3 or len(photo) not in (1, 3):
        raise ValueError(
            "restore_photo: expected a photograph (C, H, W) with C = 1 or 3, got "
            f"{tuple(photo.shape)}."
        )
    photo = photo.to(method.device)
    greys, scale = (to_greys(photo), math.sqrt(3)) if len(photo) == 3 else (photo[None], 1.0)
    degradation = replace(degradation, sigma=degradation.sigma / scale)
    return method.restore(on_canvas(greys, degradation, method.stride), progress=progress)


def to_greys(colours: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 1 h w"]:
    """(R + G + B) / 3, and R - G and R + G - 2 B scaled alike and moved to the middle of [0, 1]."""
    mixed = torch.einsum("ij,jhw->ihw", OPPONENT_COLOURS.to(colours) / math.sqrt(3), colours)
    return (mixed + MIDDLE.to(colours))[:, None]


def from_greys(greys: Float[Tensor, "3 1 h w"]) -> Float[Tensor, "3 h w"]:
    """The colours again."""
    mixed = greys[:, 0] - MIDDLE.to(greys)
    return torch.einsum("ij,ihw->jhw", OPPONENT_COLOURS.to(greys) * math.sqrt(3), mixed)
