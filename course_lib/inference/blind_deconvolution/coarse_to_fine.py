"""Blind deconvolution in stages: from a smooth law and stiff kernels to sharp ones."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.diffusion import Denoiser
from course_lib.inference.blind_deconvolution.alternation import BlindSolution, blind_deconvolution
from course_lib.inference.blind_deconvolution.kernel_step import KernelSize
from course_lib.inference.blind_deconvolution.potentials import Potential


@dataclass(frozen=True)
class Stage:
    """What changes from stage to stage, as `blind_deconvolution` takes it.

    Attributes:
        denoiser_sigma: noise level at which the denoiser is asked, in intensities.
        kernel_ridge: weight of 1/2 |h|^2.
        n_outer: outer iterations.
    """

    denoiser_sigma: float
    kernel_ridge: float
    n_outer: int


def coarse_to_fine(
    denoiser: Denoiser | Potential,
    y: Float[Tensor, "b c h w"],
    kernel_size: KernelSize,
    stages: Sequence[Stage],
    init: str | Tensor = "wide",
    *,
    sigma: float,
    snapshots: Sequence[int] = (),
    **options,
) -> BlindSolution:
    """`blind_deconvolution` stage by stage: each starts from the kernel of the last, and from y.

    The potential of a law with more noise, a higher denoiser_sigma, is smoother and has fewer local
    minima. A larger kernel_ridge keeps a kernel from fitting with spikes what is still wrong in
    the image. Both are lowered as image and kernel become better; the answer is a critical point
    of the objective of the last stage.

    Args:
        denoiser, y, kernel_size, init, sigma: as in `blind_deconvolution`.
        stages: at least one.
        snapshots: outer iterations, counted over all stages.
        options: of every stage, such as image_step="proximal".

    Returns:
        BlindSolution; iterations, evaluations and the rows of the history are those of all
        stages, the status that of the last one. "objective" is another function in each stage.

    Raises:
        ValueError: no stage, an option that the stages set, or what `blind_deconvolution` refuses.

    Source: Blake & Zisserman 1987, Visual Reconstruction (graduated non-convexity).
    """
    if not stages:
        raise ValueError("coarse_to_fine: expected at least one stage, got none.")
    if twice := {field.name for field in fields(Stage)} & options.keys():
        raise ValueError(
            f"coarse_to_fine: the stages set {', '.join(sorted(twice))}. Leave it out here."
        )
    done, evaluations, histories, kept = 0, 0, [], []
    for stage in stages:
        found = blind_deconvolution(
            denoiser,
            y,
            kernel_size,
            init,
            sigma=sigma,
            snapshots=[n - done for n in snapshots if n > done or n == done == 0],
            **asdict(stage),
            **options,
        )
        kept += [s._replace(iteration=s.iteration + done) for s in found.snapshots]
        histories.append(found.history)
        done, evaluations = done + stage.n_outer, evaluations + found.evaluations
        init = found.kernel
    history = {name: torch.cat([h[name] for h in histories]) for name in found.history}
    return replace(
        found,
        history=history,
        iterations=done,
        snapshots=tuple(kept),
        evaluations=evaluations,
    )
