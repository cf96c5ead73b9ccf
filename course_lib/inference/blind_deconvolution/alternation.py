"""Image and kernel, both unknown, by turns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from course_lib.batch import inner
from course_lib.diffusion import Denoiser
from course_lib.inference.blind_deconvolution.image_step import (
    ImageObjective,
    ImageStep,
    misfit,
)
from course_lib.inference.blind_deconvolution.kernel_step import (
    KernelMisfit,
    KernelSize,
    KernelStep,
    first_kernels,
)
from course_lib.inference.blind_deconvolution.potentials import (
    Potential,
    as_potential,
    check_problem,
    value_of,
)
from course_lib.operators import BlurEach
from course_lib.solvers.iterate import identity
from course_lib.solvers.momentum import Momentum
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
        evaluations: of the gradient of q, for each image: what the run costs.
    """

    kernel: Float[Tensor, "b 1 k l"]
    snapshots: tuple[Snapshot, ...] = ()
    evaluations: int = 0


@torch.no_grad()
def blind_deconvolution(
    denoiser: Denoiser | Potential,
    y: Float[Tensor, "b c h w"],
    kernel_size: KernelSize,
    init: str | Tensor = "wide",
    *,
    sigma: float,
    denoiser_sigma: float = 0.02,
    n_outer: int = 300,
    n_inner: int = 10,
    restart: int | None = 100,
    image_step: str = "gradient",
    kernel_update: str = "projected",
    kernel_steps: int = 1,
    kernel_step_size: float | None = None,
    kernel_ridge: float = 0.0,
    momentum: bool = False,
    snapshots: Sequence[int] = (),
    progress: bool = False,
) -> BlindSolution:
    r"""A local minimum of F(x, h) = 1/2 |h * x - y|^2 + sigma^2 q(x), h in the simplex.

    Which local minimum is the question. Where q(h * x) <= q(x) for all kernels, the least value of
    F has the identity for a kernel, and y, denoised, for an image (Proposition 1): nothing is
    gained. The true pair is another local minimum, if q is not convex (Theorem 1); from a narrow
    kernel one ends in the former, from a wide one in the latter.

    For n = 0, 1, ...: start the image from y if n is a multiple of `restart`, else from where it
    is; take n_inner steps on x; then take kernel_steps on h, with the new x. The published
    indices, corrected, see erratum E5.

    The defaults are the published algorithm. Faster, and with the same fixed points (grad F = 0,
    up to the simplex): image_step="proximal", momentum=True, a few kernel_steps, one of n_inner.

    Args:
        denoiser: D(x, sigma) on [0, 1]; or, in its place, any potential q with `grad` and
            `lipschitz`, such as `SmoothedTV`.
        y: blurred images, periodic. Each is treated as if it were alone.
        kernel_size: (h, w) or one odd side, in pixels. It must hold the true kernel.
        init: first kernels: "wide", "flat", "narrow", or (B, 1, h, w), see `first_kernels`.
        sigma: standard deviation of the noise in y; it weighs the prior.
        denoiser_sigma: noise level at which the denoiser is asked, see `DenoiserPotential`.
        n_outer, n_inner: iterations; together n_outer * n_inner evaluations of the denoiser.
        restart: None for never.
        image_step: "gradient" or "proximal", see `ImageStep`.
        kernel_update: "projected" or "through_projection", see `KernelStep`.
        kernel_steps: for each outer iteration; they cost Fourier transforms only.
        kernel_step_size: the inverse of the Lipschitz constant of each image, by default.
        kernel_ridge: adds kernel_ridge / 2 |h|^2 to F, see `KernelMisfit`; 0 as published.
        momentum: of both unknowns, started afresh with the image.
        snapshots: outer iterations after which image and kernel are kept; 0 is the start.
        progress: show a bar.

    Returns:
        BlindSolution; history has a row an outer iteration: "misfit", 1/2 |h * x - y|^2,
        "kernel_change", |h_new - h|, and "objective", F, where the value of q is known. The
        status is "converged" if the last |h_new - h| is below 1e-5 for every image.

    Raises:
        ValueError: shapes, numbers or words that make no sense.

    Source: Chan & Wong 1998, doi:10.1109/83.661187 (alternation); the restarts and the two
    initialisations are those of the paper on diffusion priors whose errata the book lists.
    """
    check_problem("blind_deconvolution", y, sigma)
    _check_counts(n_outer, n_inner, kernel_steps, restart)
    if not 0 <= kernel_ridge < float("inf"):
        raise ValueError(
            "blind_deconvolution: kernel_ridge must be finite and not negative, got "
            f"{kernel_ridge}. 0 is no ridge."
        )
    q = as_potential(denoiser, denoiser_sigma)
    image_stepper = ImageStep(image_step, momentum)
    kernel_stepper = KernelStep(kernel_update, kernel_step_size)
    start = first_kernels(init, kernel_size, y)
    size, img_size = tuple(start.shape[-2:]), tuple(y.shape[1:])
    x, taps, kernel, kept = y, start, start, [Snapshot(0, y, start)]
    record, objective = History("misfit", "kernel_change"), []
    for n in tqdm(range(n_outer), disable=not progress):
        if n == 0 or (restart and n % restart == 0):
            x, ahead, taps_ahead = y, *[Momentum() if momentum else identity for _ in range(2)]
        objective_of_image = ImageObjective(BlurEach(kernel, img_size), y, q, sigma)
        for _ in range(n_inner):
            x = image_stepper(objective_of_image, ahead(x))
        f, old = KernelMisfit(x, y, size, kernel_ridge), kernel
        for _ in range(kernel_steps):
            taps = kernel_stepper(f, taps_ahead(taps))
        kernel = kernel_stepper.kernel(taps)
        fit = misfit(BlurEach(kernel, img_size), x, y)
        record.add(misfit=fit, kernel_change=(kernel - old).flatten(1).norm(dim=1))
        if (value := value_of(q, x)) is not None:
            ridge = kernel_ridge / 2 * inner(kernel, kernel)
            objective.append(fit + sigma**2 * value + ridge)
        if n + 1 in snapshots:
            kept.append(Snapshot(n + 1, x, kernel))
    history = record.stack()
    if objective:
        history["objective"] = torch.stack(objective).cpu()
    change = history["kernel_change"][-1]
    return BlindSolution(
        x,
        status_of(change <= 1e-5, ~change.isfinite()),
        history,
        n_outer,
        kernel=kernel,
        snapshots=tuple(s for s in kept if s.iteration in snapshots),
        evaluations=n_outer * n_inner,
    )


def _check_counts(n_outer: int, n_inner: int, kernel_steps: int, restart: int | None) -> None:
    counts = {"n_outer": n_outer, "n_inner": n_inner, "kernel_steps": kernel_steps}
    if restart is not None:
        counts["restart"] = restart
    for name, count in counts.items():
        if count < 1:
            hint = " For no restarts give None." if name == "restart" else ""
            raise ValueError(f"blind_deconvolution: {name} must be at least 1, got {count}.{hint}")
