"""The kernel, given the image: a least-squares problem on the probability simplex."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.fft import irfft2, rfft2
from torch.nn.functional import avg_pool2d

from course_lib.batch import image_sides, inner, per_image
from course_lib.fourier import pad_and_centre, squared_modulus
from course_lib.kernels.simplex import project_simplex
from course_lib.operators import gaussian_kernel
from course_lib.protocols import ImageMap
from course_lib.solvers.iterate import identity
from course_lib.solvers.momentum import Momentum

KernelSize = int | tuple[int, int]
Init = Literal["wide", "flat", "narrow"]


@dataclass(frozen=True, eq=False)
class KernelObjective:
    """f(h) = 1/2 |h * x - y|^2 + ridge/2 |h|^2, for kernels of sum 1.

    x and y count without the mean m of x: for a kernel of sum 1, h * x - y = h * (x - m) - (y - m).
    The gradient changes by a multiple of 1, which the simplex does not see, and the curvature
    falls by orders of magnitude, as the mean of an image is most of its energy.

    Args:
        x, y: images and measurements.
        size: (h, w) of the kernels, with the centre at (h // 2, w // 2).
        ridge: where x has no energy the measurement says nothing of h, and least squares fit the
            noise by a few spikes; a ridge keeps such kernels flat.
    """

    x: Float[Tensor, "b c h w"]
    y: Float[Tensor, "b c h w"]
    size: tuple[int, int]
    ridge: float = 0.0

    @cached_property
    def spectra(self) -> tuple[Complex[Tensor, "b c h w2"], Complex[Tensor, "b c h w2"]]:
        """Half spectra of x - m and y - m."""
        mean = self.x.mean((2, 3), keepdim=True)
        return rfft2(self.x - mean), rfft2(self.y - mean)

    @cached_property
    def lipschitz(self) -> Float[Tensor, " b"]:
        """A bound on the curvature of f: the largest absolute row sum of its Hessian.

        Its entries are a(t - t') for taps t, t', with a the correlation of x - m with itself; the
        row of t sums |a| over a window of the kernel's size, around -t. This is Gershgorin's
        bound, far below max |F(x - m)|^2, which holds for kernels as large as the image.
        """
        energy = squared_modulus(self.spectra[0]).sum(1)
        lags = irfft2(energy, s=self.x.shape[-2:]).abs()
        height, width = self.size
        window = lags.roll((height - 1, width - 1), (-2, -1))  # the lag -(size - 1) comes first
        window = _repeated(window, (2 * height - 1, 2 * width - 1))
        rows = avg_pool2d(window[:, None], self.size, stride=1) * (height * width)
        return rows.flatten(1).amax(1) + self.ridge

    def __call__(self, kernel: Float[Tensor, "b 1 k l"]) -> Float[Tensor, " b"]:
        """f(h)."""
        residual = irfft2(self._residual(kernel), s=self.x.shape[-2:])
        return (inner(residual, residual) + self.ridge * inner(kernel, kernel)) / 2

    def grad(self, kernel: Float[Tensor, "b 1 k l"]) -> Float[Tensor, "b 1 k l"]:
        """The correlation of x with h * x - y, at the places of the taps; up to a multiple of 1."""
        taps = correlation_at_taps(
            self.spectra[0], self._residual(kernel), self.size, image_sides(self.x)
        )
        return taps + self.ridge * kernel

    def _residual(self, kernel: Tensor) -> Tensor:
        x, y = self.spectra
        return rfft2(pad_and_centre(kernel, image_sides(self.x))) * x - y


def _repeated(x: Float[Tensor, "b h w"], size: tuple[int, int]) -> Float[Tensor, "b k l"]:
    """The first rows and columns of a periodic image."""
    rows = torch.arange(size[0], device=x.device) % x.shape[1]
    columns = torch.arange(size[1], device=x.device) % x.shape[2]
    return x[:, rows[:, None], columns]


def correlation_at_taps(
    x: Complex[Tensor, "b c h w2"],
    r: Complex[Tensor, "b c h w2"],
    size: tuple[int, int],
    img_size: tuple[int, int],
) -> Float[Tensor, "b 1 k l"]:
    """sum over pixels p of x(p - t) r(p), at the taps t of a kernel: the adjoint of h -> h * x.

    Args:
        x, r: half spectra of images.
        size, img_size: (h, w) of kernels and of images.
    """
    everywhere = irfft2((x.conj() * r).sum(1, keepdim=True), s=img_size)
    centred = everywhere.roll((size[0] // 2, size[1] // 2), (-2, -1))
    return centred[..., : size[0], : size[1]]


@dataclass(frozen=True)
class KernelStep:
    """One step on the kernels, in one of two parametrisations.

    "projected": v is the kernel; v <- P(v - tau grad f(v)). A tap at 0 comes back when its
        gradient calls it.
    "through_projection": the kernel is P(v) of a v without constraint, and the step is gradient
        descent on f(P(v)), v <- v - tau P'(v)^T grad f(P(v)). Then P' is I - 1 1^T / |S| on the
        support S and 0 off it: a tap that has become 0 never returns.

    Args:
        method: "projected" or "through_projection".
        step_size: tau; 1 / f.lipschitz of each image by default.
        momentum: extrapolation before each step, see `Momentum`.
    """

    method: Literal["projected", "through_projection"] = "projected"
    step_size: float | None = None
    momentum: bool = False

    def __post_init__(self) -> None:
        if self.method not in ("projected", "through_projection"):
            raise ValueError(
                "KernelStep: method must be 'projected' or 'through_projection', got "
                f"{self.method!r}."
            )
        if self.step_size is not None and not 0 < self.step_size < math.inf:
            raise ValueError(
                f"KernelStep: step_size must be positive and finite, got {self.step_size}. Leave "
                "it out for the inverse of the Lipschitz constant."
            )

    def ahead(self) -> ImageMap:
        """The map from an iterate to the point from which the next step is taken."""
        return Momentum() if self.momentum else identity

    def __call__(self, f: KernelObjective, v: Float[Tensor, "b 1 k l"]) -> Float[Tensor, "b 1 k l"]:
        """v after one step on f."""
        tau = self.step_size or per_image(1 / f.lipschitz, v)
        if self.method == "projected":
            return on_simplex(v - tau * f.grad(v))
        return v - tau * slope_through_projection(f.grad, v)

    def kernel(self, v: Float[Tensor, "b 1 k l"]) -> Float[Tensor, "b 1 k l"]:
        """The kernel that v stands for."""
        return v if self.method == "projected" else on_simplex(v)


def slope_through_projection(
    grad: Callable[[Tensor], Tensor], v: Float[Tensor, "b 1 k l"]
) -> Float[Tensor, "b 1 k l"]:
    """P'(v)^T grad(P(v)), the gradient of f(P(v)) with respect to v."""
    with torch.enable_grad():
        v = v.detach().requires_grad_()
        kernel = on_simplex(v)
        (slope,) = torch.autograd.grad(kernel, v, grad(kernel.detach()))
    return slope


def on_simplex(v: Float[Tensor, "b 1 k l"]) -> Float[Tensor, "b 1 k l"]:
    """The nearest kernels with taps >= 0 of sum 1."""
    return project_simplex(v.flatten(1)).view_as(v)


def first_kernels(
    init: Init | Tensor, size: KernelSize, y: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b 1 k l"]:
    """Where the kernels start, one for each measurement.

    "wide": a Gaussian whose standard deviation is 0.28 times each side, so that it nearly fills
        the square. "flat": all taps equal, 1 / (h w). "narrow": a Gaussian of 0.35
        pixels, almost the identity. Or kernels of your own, projected on the simplex.

    Raises:
        ValueError: another word, a size that is not odd or larger than the image, or kernels of
            another shape.
    """
    height, width = sides = _sides(size)
    if min(sides) < 1 or height % 2 == 0 or width % 2 == 0:
        raise ValueError(
            f"blind_deconvolution: expected odd sides of the kernel, so that it has a centre, got "
            f"{sides}."
        )
    if height > y.shape[-2] or width > y.shape[-1]:
        raise ValueError(
            f"blind_deconvolution: kernels of {height} x {width} are larger than the images, "
            f"{y.shape[-2]} x {y.shape[-1]}."
        )
    if isinstance(init, Tensor):
        if init.shape not in ((1, 1, *sides), (len(y), 1, *sides)):
            raise ValueError(
                f"blind_deconvolution: expected first kernels of shape ({len(y)}, 1, {height}, "
                f"{width}), or one for all, got {tuple(init.shape)}."
            )
        first = on_simplex(init.to(y))
    elif init == "wide":
        first = _gaussian(0.28 * height, 0.28 * width, sides).to(y)
    elif init == "flat":
        first = y.new_full((1, 1, *sides), 1 / (height * width))
    elif init == "narrow":
        first = _gaussian(0.35, 0.35, sides).to(y)
    else:
        raise ValueError(
            f"blind_deconvolution: init must be 'wide', 'flat', 'narrow' or kernels, got {init!r}."
        )
    return first.expand(len(y), -1, -1, -1).contiguous()


def _sides(size: KernelSize) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _gaussian(rows: float, columns: float, sides: tuple[int, int]) -> Float[Tensor, "1 1 h w"]:
    """A Gaussian with different widths along the two axes: a signal of one row has a kernel too."""
    profiles = [
        gaussian_kernel(std, side, dtype=torch.float64)[0, 0, side // 2]
        for std, side in zip((rows, columns), sides, strict=True)
    ]
    kernel = torch.outer(*profiles)
    return (kernel / kernel.sum())[None, None]
