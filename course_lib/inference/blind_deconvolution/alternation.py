"""Blind deconvolution: image and kernel by turns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from course_lib.batch import image_sides, image_size, inner, norm
from course_lib.diffusion import Denoiser
from course_lib.inference.blind_deconvolution.image_step import ImageObjective, ImageStep
from course_lib.inference.blind_deconvolution.kernel_step import (
    Init,
    KernelObjective,
    KernelSize,
    KernelStep,
    first_kernels,
)
from course_lib.inference.blind_deconvolution.potentials import (
    ImagePotential,
    as_potential,
    check_problem,
)
from course_lib.operators import BlurEach
from course_lib.solvers.iterate import Row
from course_lib.solvers.solution import History, Solution, status_of


class Snapshot(NamedTuple):
    """Image and kernel after some outer iterations."""

    iteration: int
    x: Float[Tensor, "b c h w"]
    kernel: Float[Tensor, "b 1 k l"]


@dataclass(frozen=True, kw_only=True)
class BlindSolution(Solution):
    """A Solution whose image comes with a kernel.

    Attributes:
        kernel: (B, 1, h, w), taps >= 0 of sum 1.
        snapshots: at the iterations that were asked for.
        evaluations: number of gradients of q that the run cost for each image.
    """

    kernel: Float[Tensor, "b 1 k l"]
    snapshots: tuple[Snapshot, ...] = ()
    evaluations: int = 0


def _check_counts(options: object, *names: str) -> None:
    for name in names:
        count = getattr(options, name)
        if count is not None and count < 1:
            hint = " For no restarts give None." if name == "restart" else ""
            raise ValueError(
                f"{type(options).__name__}: {name} must be at least 1, got {count}.{hint}"
            )


@dataclass(frozen=True)
class Stage:
    """The objective that a run minimises, and for how long.

    Args:
        denoiser_sigma: noise level at which a denoiser is asked, in intensities, see
            `DenoiserPotential`; a potential does not use it.
        kernel_ridge: weight of 1/2 |h|^2 in F, see `KernelObjective`; 0 in Theorem 1.
        n_outer: number of outer iterations.

    Raises:
        ValueError: a ridge or a number out of its range.
    """

    denoiser_sigma: float = 0.02
    kernel_ridge: float = 0.0
    n_outer: int = 300

    def __post_init__(self) -> None:
        if not 0 <= self.kernel_ridge < float("inf"):
            raise ValueError(
                "Stage: kernel_ridge must be finite and not negative, got "
                f"{self.kernel_ridge}. 0 is no ridge."
            )
        _check_counts(self, "n_outer")


@dataclass(frozen=True)
class Alternation:
    """The steps of one outer iteration: some on the image, then some on the kernel.

    The defaults are plain: gradient steps on the image, projected ones on the kernel, no momentum.
    With the same fixed points (grad F = 0, up to the simplex), and fewer evaluations of a
    denoiser: one proximal step on the image and a few on the kernel, which cost Fourier transforms
    only, both with momentum. `published_algorithm` is Algorithm 1 as it is printed.

    Args:
        image_step, kernel_step: the kinds of steps.
        n_inner: number of image steps, each an evaluation of the denoiser.
        n_kernel: number of kernel steps.
        restart: outer iterations after which the image starts again from y; None for never.
        progress: show a bar.

    Raises:
        ValueError: a number below 1.
    """

    image_step: ImageStep = field(default_factory=lambda: ImageStep("gradient", momentum=False))
    kernel_step: KernelStep = field(default_factory=KernelStep)
    n_inner: int = 10
    n_kernel: int = 1
    restart: int | None = 100
    progress: bool = False

    def __post_init__(self) -> None:
        _check_counts(self, "n_inner", "n_kernel", "restart")

    def restarts(self, n: int) -> bool:
        """Whether the image starts from y at outer iteration n = 0, 1, ..."""
        return n == 0 or bool(self.restart and n % self.restart == 0)


@torch.no_grad()
def blind_deconvolution(
    prior: Denoiser | ImagePotential,
    y: Float[Tensor, "b c h w"],
    kernel_size: KernelSize,
    init: Init | Tensor = "wide",
    *,
    sigma: float,
    stage: Stage = Stage(),
    alternation: Alternation = Alternation(),
    snapshots: Sequence[int] = (),
) -> BlindSolution:
    r"""A local minimum of F(x, h) = 1/2 |h * x - y|^2 + sigma^2 q(x), h in the simplex.

    Which local minimum is the question. Where q(h * x) <= q(x) for all kernels, the least value of
    F has the identity for a kernel, and y, denoised, for an image (Proposition 1): nothing is
    gained. The true pair is another local minimum, if q is not convex (Theorem 1); from a narrow
    kernel one ends in the former, from a wide one in the latter.

    For n = 0, 1, ...: start the image from y if n is a multiple of `restart`, else from where it
    is; take n_inner steps on x; then take n_kernel steps on h, with the new x (erratum E5).

    Args:
        prior: D(x, sigma) on [0, 1]; or, in its place, any potential q with `grad` and
            `lipschitz`, such as `SmoothedTV`.
        y: blurred images, periodic. Each is treated as if it were alone.
        kernel_size: (h, w) or one odd side, in pixels. It must hold the true kernel.
        init: first kernels: "wide", "flat", "narrow", or (B, 1, h, w), see `first_kernels`.
        sigma: standard deviation of the noise in y; it weighs the prior.
        stage: level of the denoiser, ridge of the kernel, number of outer iterations.
        alternation: the steps of an outer iteration.
        snapshots: outer iterations after which image and kernel are kept; 0 is the start.

    Returns:
        BlindSolution; history has a row an outer iteration: "data_fidelity", 1/2 |h * x - y|^2,
        "kernel_change", |h_new - h|, and "objective", F, where the value of q is known. The
        status is "converged" if the last |h_new - h| is below 1e-5 for every image.

    Raises:
        ValueError: shapes, numbers or words that make no sense.

    Source: Chan & Wong 1998, doi:10.1109/83.661187 (alternation); the restarts are those of
    `published_algorithm`.
    """
    check_problem("blind_deconvolution", y, sigma)
    q, img_size = as_potential(prior, stage.denoiser_sigma), image_size(y)
    image_step, kernel_step = alternation.image_step, alternation.kernel_step
    x, h = y, first_kernels(init, kernel_size, y)
    v, history = h, History()  # h = kernel_step.kernel(v)
    kept = [Snapshot(0, x, h)] if 0 in snapshots else []
    f = ImageObjective(BlurEach(h, img_size), y, q, sigma)
    for n in tqdm(range(stage.n_outer), disable=not alternation.progress):
        if alternation.restarts(n):
            x, x_ahead, v_ahead = y, image_step.ahead(), kernel_step.ahead()
        for _ in range(alternation.n_inner):
            x = image_step(f, x_ahead(x))
        g, h_old = KernelObjective(x, y, image_sides(h), stage.kernel_ridge), h
        for _ in range(alternation.n_kernel):
            v = kernel_step(g, v_ahead(v))
        h = kernel_step.kernel(v)
        f = ImageObjective(BlurEach(h, img_size), y, q, sigma)
        change = norm(h - h_old)
        history.add(**_with_ridge(f.row(x), stage.kernel_ridge, h), kernel_change=change)
        if n + 1 in snapshots:
            kept.append(Snapshot(n + 1, x, h))
    status = status_of(change.le(1e-5), ~change.isfinite())
    result = {"kernel": h, "snapshots": tuple(kept), "evaluations": (n + 1) * alternation.n_inner}
    return BlindSolution(x, status, history.stack(), n + 1, **result)


def _with_ridge(row: Row, ridge: float, kernel: Tensor) -> Row:
    """The objective of the image, where it is known, with the ridge of the kernel."""
    if "objective" in row:
        row["objective"] = row["objective"] + ridge / 2 * inner(kernel, kernel)
    return row
