r"""A photograph of any size and shape, restored: y = seen * ((k * x) at every s-th pixel) + noise.

Two things set a photograph apart from the images of the chapters. Its scene goes on beyond the
border, so the convolution is not periodic: x lives on a canvas that is larger by the reach of the
kernel, what lies outside the photograph is not seen, and only there does the periodic blur of the
canvas wrap around. And it may be large: see `TiledDecoder`.

The prior knows grey images. A colour photograph is turned into three of them, (R + G + B) / 3 and
two differences of colours, by an orthogonal matrix divided by sqrt(3). White noise stays white,
with standard deviation sigma / sqrt(3) in all three: brightness, which carries the detail, is seen
more clearly than any single colour is.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from course_lib.finite_differences import laplacian
from course_lib.functionals import LeastSquares, SmoothedTV
from course_lib.inference.vble.vble import DRAWS, VARIANTS, VBLE
from course_lib.models.vae import VAE
from course_lib.operators import (
    Blur,
    Composition,
    Denoising,
    Downsampling,
    GaussianNoise,
    Inpainting,
    LinearOperator,
)
from course_lib.restore.tiled_decoder import TiledDecoder
from course_lib.rng import generator_from
from course_lib.solvers import accelerated_gradient, conjugate_gradient

PENALTIES = {"wiener": (1e-6, 1e2), "tv": (1e-5, 1.0)}  # and where their weights are looked for
EPS = 0.01  # of smoothed total variation: below the noise of most photographs
OPPONENT_COLOURS = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [1.0, 1.0, -2.0]])
OPPONENT_COLOURS = OPPONENT_COLOURS / OPPONENT_COLOURS.norm(dim=1, keepdim=True)  # orthogonal
MIDDLE = torch.tensor([0.0, 0.5, 0.5]).view(3, 1, 1)  # equal colours have differences of mid grey


@dataclass(frozen=True, eq=False)
class Degradation:
    """What stands between a scene x and its photograph y.

    Args:
        sigma: standard deviation of the noise, for images in [0, 1].
        kernel: of the blur, (1, 1, h, w), on the grid of x; None for none.
        factor: s; a photograph of H x W pixels shows a scene of s H x s W.
        seen: (1, H, W), True where the photograph shows something; everywhere if None.
    """

    sigma: float
    kernel: Tensor | None = None
    factor: int = 1
    seen: Tensor | None = None


class Problem(NamedTuple):
    """Grey photographs on a canvas."""

    op: LinearOperator
    y: Float[Tensor, "b 1 h w"]  # 0 where nothing is seen
    seen: Tensor  # (1, h, w)
    window: tuple[slice, slice]  # where the photographs' scene lies on the canvas
    gain: float  # |op| is at most that


def on_canvas(photo: Float[Tensor, "b 1 h w"], exposure: Degradation, multiple: int = 1) -> Problem:
    """The operator of photographs that share an exposure, periodic on a canvas larger than them.

    The canvas has room for the reach of the kernel on every side; its sides are multiples of
    `multiple`.
    """
    s, kernel = exposure.factor, exposure.kernel
    reach = (0, 0) if kernel is None else (kernel.shape[-2] // 2, kernel.shape[-1] // 2)
    step = math.lcm(multiple, s)
    canvas, inside, window = [1], [], []
    for side, r in zip(photo.shape[-2:], reach, strict=True):
        before = -(-r // s)  # in pixels of the photograph
        canvas.append(-(-(s * (before + side) + r) // step) * step)
        inside.append(slice(before, before + side))
        window.append(slice(s * before, s * (before + side)))
    if s > 1:
        camera = Downsampling(tuple(canvas), s, kernel)
    elif kernel is not None:
        camera = Blur(kernel, tuple(canvas))
    else:
        camera = Denoising(tuple(canvas))
    seen = torch.zeros(camera.measurement_size, dtype=torch.bool, device=photo.device)
    y = photo.new_zeros(len(photo), *camera.measurement_size)
    seen[:, *inside] = True if exposure.seen is None else exposure.seen.bool().to(photo.device)
    y[:, :, *inside] = photo
    mask = Inpainting(seen, GaussianNoise(exposure.sigma))
    op = mask if isinstance(camera, Denoising) else Composition(mask, camera)
    return Problem(op, mask.A(y), seen, tuple(window), camera.norm())


@dataclass(frozen=True, eq=False)
class Restoration:
    """A restored photograph, values around [0, 1], not clipped.

    Attributes:
        estimate: (C, H, W).
        std: standard deviation of each number of it; None from a method that knows of none.
        samples: (n, C, H, W), draws of what the scene may have been; n = 0 likewise.
        misfit: root mean square of (A estimate - y) / sigma over what is seen. Much more than 1
            says that kernel or sigma are not those of the photograph.
        weight: of the penalty, for "wiener" and "tv".
    """

    estimate: Float[Tensor, "c h w"]
    std: Float[Tensor, "c h w"] | None
    samples: Float[Tensor, "n c h w"]
    misfit: float
    weight: float | None = None


def restore_photo(
    photo: Float[Tensor, "c h w"],
    exposure: Degradation,
    *,
    method: str = "VBLE-xz",
    vae: VAE | None = None,
    steps: int = 300,
    draws: int = DRAWS,
    samples: int = 4,
    weight: float | None = None,
    tile: int = 1024,
    seed: int = 0,
    quiet: bool = True,
) -> Restoration:
    """Restore one photograph, grey or in colour.

    Args:
        photo: y, C = 1 or 3, values in [0, 1].
        exposure: how it came about.
        method: a variant of VBLE, "wiener" (Tychonov's estimate) or "tv" (smoothed total
            variation).
        vae: convolutional, of grey images; needed by VBLE.
        steps: of the descent of VBLE.
        draws: behind its mean and standard deviation, as they are needed, never held together.
        samples: how many of the draws to return.
        weight: of the penalty of "wiener" and "tv"; by default the one whose misfit is 1, which
            is Morozov's discrepancy principle.
        tile: side of the largest square of pixels that the network works on at once.
        seed: of all draws.
        quiet: show no bar of progress.

    Raises:
        ValueError: an unknown method, a photograph that is neither grey nor in colour, more
            samples than draws, no vae.
        ArithmeticError: the descent of VBLE left the finite numbers.
    """
    _check(photo, method, vae, samples, draws)
    greys, scale = photo[None], 1.0
    if len(photo) == 3:
        greys, scale = to_greys(photo), math.sqrt(3)
    exposure = replace(exposure, sigma=exposure.sigma / scale)
    if method in PENALTIES:
        problem = on_canvas(greys, exposure)
        x, weight = _penalised(problem, exposure.sigma, method, weight)
        return _restoration(problem, exposure.sigma, x, weight=weight)

    with tqdm(unit="px", unit_scale=True, disable=quiet) as bar:
        prior = TiledDecoder(vae, tile=tile, tick=bar.update)
        problem = on_canvas(greys, exposure, prior.stride)
        pixels = problem.y[:, 0].numel() * exposure.factor**2
        bar.reset(total=(1 + steps + draws) * pixels)  # 1 for the first guess
        generator = generator_from(seed)
        posterior = VBLE.variant(method, prior).fit(
            problem.op, problem.y, steps=steps, generator=generator
        )
        if posterior.status == "diverged":
            raise ArithmeticError(f"{method} left the finite numbers.")
        if posterior.law.log_a is None and posterior.law.log_b is None:
            return _restoration(problem, exposure.sigma, posterior.decoded)
        total, squares, kept = 0.0, 0.0, []
        for n in range(draws):
            x = posterior.sample(1, generator)[0]
            shown = _shown(problem, x)
            total, squares = total + x.double(), squares + shown.double().square()
            if n < samples:
                kept.append(shown)
    found = _restoration(problem, exposure.sigma, (total / draws).to(x), samples=kept)
    variance = (squares - draws * _shown(problem, total / draws).square()) / (draws - 1)
    return replace(found, std=variance.clamp(min=0).sqrt().to(x))


def to_greys(colours: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 1 h w"]:
    """(R + G + B) / 3, and R - G and R + G - 2 B scaled alike and moved to the middle of [0, 1]."""
    mixed = torch.einsum("ij,jhw->ihw", OPPONENT_COLOURS.to(colours) / math.sqrt(3), colours)
    return (mixed + MIDDLE.to(colours))[:, None]


def from_greys(greys: Float[Tensor, "3 1 h w"]) -> Float[Tensor, "3 h w"]:
    """The colours again."""
    mixed = greys[:, 0] - MIDDLE.to(greys)
    return torch.einsum("ij,ihw->jhw", OPPONENT_COLOURS.to(greys) * math.sqrt(3), mixed)


def _shown(problem: Problem, x: Float[Tensor, "b 1 H W"]) -> Float[Tensor, "c h w"]:
    """Grey canvases as one photograph."""
    x = x[:, :, *problem.window]
    return from_greys(x) if len(x) == 3 else x[0]


def _restoration(
    problem: Problem,
    sigma: float,
    x: Float[Tensor, "b 1 h w"],
    *,
    samples: tuple[Tensor, ...] | list[Tensor] = (),
    weight: float | None = None,
) -> Restoration:
    estimate = _shown(problem, x)
    samples = torch.stack(tuple(samples)) if samples else estimate.new_empty(0, *estimate.shape)
    return Restoration(estimate, None, samples, _misfit(problem, sigma, x), weight)


def _misfit(problem: Problem, sigma: float, x: Tensor) -> float:
    residual = (problem.op.A(x) - problem.y).square().sum()  # 0 where nothing is seen
    return (residual / (len(x) * problem.seen.sum())).sqrt().item() / sigma


def _penalised(
    problem: Problem, sigma: float, method: str, weight: float | None
) -> tuple[Float[Tensor, "b 1 h w"], float]:
    """The minimiser of 1/2 |A x - y|^2 + weight R(x), and the weight.

    The misfit grows with the weight; ten halvings of the interval of its logarithm find the weight
    within 1 %, each from where the last one ended.
    """
    minimiser = _tychonov if method == "wiener" else _total_variation
    x = _tychonov(problem, None, 1e-3)
    if weight is not None:
        return minimiser(problem, x, weight), weight
    low, high = (math.log(bound) for bound in PENALTIES[method])
    for _ in range(10):
        weight = math.exp((low + high) / 2)
        x = minimiser(problem, x, weight)
        if _misfit(problem, sigma, x) < 1:
            low = math.log(weight)
        else:
            high = math.log(weight)
    return x, weight


def _tychonov(problem: Problem, x: Tensor | None, weight: float) -> Tensor:
    """R(x) = |grad x|^2. The mask spoils Wiener's closed form: conjugate gradients."""
    op = problem.op
    return conjugate_gradient(
        lambda u: op.A_adjoint(op.A(u)) - 2 * weight * laplacian(u),
        op.A_adjoint(problem.y),
        x,
        max_iter=300,
        rtol=1e-5,
    ).x


def _total_variation(problem: Problem, x: Tensor, weight: float) -> Tensor:
    """R(x) = smoothed total variation."""
    penalty = SmoothedTV(weight, EPS)
    return accelerated_gradient(
        LeastSquares(problem.op, problem.y) + penalty,
        x,
        step_size=1 / (problem.gain**2 + penalty.lipschitz),
        max_iter=300,
        rtol=1e-4,
    ).x


def _check(photo: Tensor, method: str, vae: VAE | None, samples: int, draws: int) -> None:
    known = (*VARIANTS, *PENALTIES)
    if method not in known:
        raise ValueError(f"restore_photo: there is {', '.join(known)}; got {method!r}.")
    if photo.ndim != 3 or len(photo) not in (1, 3):
        raise ValueError(
            "restore_photo: expected a photograph (C, H, W) with C = 1 or 3, got "
            f"{tuple(photo.shape)}."
        )
    if not 0 <= samples <= draws or draws < 2:
        raise ValueError(
            f"restore_photo: expected draws >= 2 and 0 <= samples <= draws, got {draws} and "
            f"{samples}."
        )
    if method in VARIANTS and vae is None:
        raise ValueError(f"restore_photo: {method} needs a prior; give vae.")
