"""Blind deconvolution in stages: from a smooth prior and stiff kernels to sharp ones."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.diffusion import Denoiser
from course_lib.inference.blind_deconvolution.alternation import (
    Alternation,
    BlindSolution,
    Stage,
    blind_deconvolution,
)
from course_lib.inference.blind_deconvolution.kernel_step import Init, KernelSize
from course_lib.inference.blind_deconvolution.potentials import ImagePotential


def coarse_to_fine(
    prior: Denoiser | ImagePotential,
    y: Float[Tensor, "b c h w"],
    kernel_size: KernelSize,
    stages: Sequence[Stage],
    init: Init | Tensor = "wide",
    *,
    sigma: float,
    alternation: Alternation = Alternation(),
    snapshots: Sequence[int] = (),
) -> BlindSolution:
    """`blind_deconvolution` stage by stage: each starts from the kernel of the last, and from y.

    The potential of a distribution with more noise, a higher denoiser_sigma, is smoother and has
    fewer local minima. A larger kernel_ridge keeps a kernel from fitting with spikes what is still
    wrong in the image. Both are lowered as image and kernel become better; the answer is a
    critical point of the objective of the last stage.

    Args:
        prior, y, kernel_size, init, sigma, alternation: as in `blind_deconvolution`.
        stages: at least one.
        snapshots: outer iterations, counted over all stages.

    Returns:
        BlindSolution; iterations, evaluations and the rows of the history are those of all
        stages, the status that of the last one. "objective" is another function in each stage.

    Raises:
        ValueError: no stage, or what `blind_deconvolution` refuses.

    Source: Blake & Zisserman 1987, Visual Reconstruction (graduated non-convexity).
    """
    if not stages:
        raise ValueError("coarse_to_fine: expected at least one stage, got none.")
    done, found = 0, []
    for stage in stages:
        here = [n - done for n in snapshots if n > done or n == done == 0]
        run = blind_deconvolution(
            prior,
            y,
            kernel_size,
            init,
            sigma=sigma,
            stage=stage,
            alternation=alternation,
            snapshots=here,
        )
        kept = tuple(s._replace(iteration=s.iteration + done) for s in run.snapshots)
        found.append(replace(run, snapshots=kept))
        done, init = done + stage.n_outer, run.kernel
    return replace(
        run,
        history={name: torch.cat([f.history[name] for f in found]) for name in run.history},
        iterations=done,
        snapshots=tuple(s for f in found for s in f.snapshots),
        evaluations=sum(f.evaluations for f in found),
    )
