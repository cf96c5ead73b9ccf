"""Numbers of chapter 2: how many steps descent needs, and what it converges to."""

import torch
from torch import Tensor

from course_lib.experiments.shared import means, photographs
from course_lib.functionals import LeastSquares, Tychonov
from course_lib.metrics import psnr
from course_lib.operators import Blur, GaussianNoise, Inpainting, gaussian_kernel
from course_lib.results import Result, experiment
from course_lib.rng import generator_from
from course_lib.solvers import (
    conjugate_gradient,
    gradient_descent,
    hessian_spectrum,
    project_consistent,
)

CHAPTER = "02_gradient_descent"


@experiment(CHAPTER, cheap=True, on_photographs=True)
def steps_to_tolerance(budget: str) -> list[Result]:
    """First n with |grad f(u_n)| <= 1e-4 |grad f(0)|, starting from u_0 = 0."""
    images, data = photographs(budget, 128)
    images, seed, lam = images.double(), 3, 0.02
    op = Blur(gaussian_kernel(1.5).double(), images.shape[1:], GaussianNoise(0.03))
    y = op(images, generator=generator_from(seed))
    f, start = LeastSquares(op, y) + Tychonov(lam), torch.zeros_like(y)
    eigenvalues = hessian_spectrum(op, lam, images.shape[-2:])
    low, high = eigenvalues.min().item(), eigenvalues.max().item()

    def descend(step_size: float | str | None) -> Tensor:
        history = gradient_descent(f, start, step_size=step_size, max_iter=400, rtol=0).history
        return history["gradient_norm"] / history["gradient_norm"][0]

    residual = conjugate_gradient(f.hvp, op.A_adjoint(y), max_iter=60, rtol=0).history["residual"]
    curves = {
        "bound": descend(None),
        "exact": descend(1 / high),
        "middle": descend(2 / (low + high)),
        "optimal": descend("optimal"),
        "cg": torch.cat((torch.ones(1, len(y)), residual)),
    }
    results = [
        Result(f"steps_{name}", _first_below(curve, 1e-4), "iterations", 1.0, data, len(y), seed)
        for name, curve in curves.items()
    ]
    return [*results, Result("condition_number", high / low, "", 0.01, data, len(y), None)]


@experiment(CHAPTER, cheap=True, on_photographs=True)
def harmonic_inpainting(budget: str) -> list[Result]:
    """Half the pixels are lost: projected gradient on |grad u|^2, without noise."""
    images, data = photographs(budget)
    seed = 2
    seen = torch.rand(images.shape[1:], generator=generator_from(seed)) < 0.5
    op = Inpainting(seen)
    y = op(images)
    solution = gradient_descent(
        Tychonov(0.5), y, max_iter=400, rtol=1e-5, project=project_consistent(op, y)
    )
    found = {
        "harmonic": (psnr(solution.x, images), "dB", 0.01),
        "masked": (psnr(y, images), "dB", 0.01),
    }
    return means(found, "psnr_{}", data, len(y), seed)


def _first_below(curve: Tensor, level: float) -> float:
    """Mean over images of the first row whose value is at most `level`."""
    reached = curve <= level
    if not reached.any(0).all():
        raise RuntimeError(f"After {len(curve) - 1} iterations not every image is below {level}.")
    return reached.int().argmax(0).double().mean().item()
