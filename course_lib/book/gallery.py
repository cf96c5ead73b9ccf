"""The picture at the head of README and of the landing page, made by the chapters' own methods.

Draw it again with `python -m course_lib.book.gallery`; nothing else changes it.
"""

import torch
from torch import Tensor

from course_lib.data import load_photo
from course_lib.functionals import LeastSquares, Tychonov
from course_lib.metrics import psnr
from course_lib.operators import (
    Blur,
    Downsampling,
    GaussianNoise,
    Inpainting,
    LinearOperator,
    Tomography,
    bicubic_kernel,
    motion_kernel,
)
from course_lib.plotting import CourseFigure, show_images
from course_lib.project import course_root
from course_lib.rng import generator_from
from course_lib.solvers import (
    conjugate_gradient,
    generalised_cross_validation,
    gradient_descent,
    project_consistent,
    tychonov,
)

SIDE = 192
Restored = tuple[Tensor, Tensor, str]  # measured, restored, PSNR in words


def gallery() -> CourseFigure:
    """Four photographs, each measured (top) and restored (bottom)."""
    pairs = {
        "motion blur": deblurred(),
        "25 % of the pixels": inpainted(),
        "3 x coarser sensor": enlarged(),
        "60 X-ray views": reconstructed(),
    }
    measured, restored, scores = zip(*pairs.values(), strict=True)
    return show_images(
        [*measured, *restored],
        [*pairs, *[""] * 4],
        captions=["measured"] * 4 + list(scores),
        columns=4,
    )


def deblurred() -> Restored:
    """Motion blur, by Tychonov with the weight of generalised cross-validation."""
    x = load_photo("coffee", SIDE, colour=True)
    op = Blur(motion_kernel(13, 0.4), (3, SIDE, SIDE), GaussianNoise(0.01))
    y = op(x, generator=generator_from(1))
    weight, _ = generalised_cross_validation(op, y, torch.logspace(-4, 0, 41))
    return _scored(y, tychonov(op, y, weight).x, x)


def inpainted() -> Restored:
    """A quarter of the pixels, joined by the smoothest image through them."""
    x = load_photo("chelsea", SIDE, colour=True)
    seen = torch.rand(1, SIDE, SIDE, generator=generator_from(2)) < 0.25
    op = Inpainting(seen.expand(3, -1, -1))
    y = op(x)
    sheet = gradient_descent(Tychonov(0.5), y, max_iter=2000, project=project_consistent(op, y))
    return _scored(y, sheet.x, x)


def enlarged() -> Restored:
    """A sensor of a third of the resolution."""
    x = load_photo("astronaut", SIDE, colour=True)
    op = Downsampling((3, SIDE, SIDE), 3, bicubic_kernel(3), GaussianNoise(0.005))
    y = op(x, generator=generator_from(3))
    return _scored(y, _smoothest(op, y, 0.001), x)


def reconstructed() -> Restored:
    """Sixty X-ray views, drawn as they are measured: one row a view."""
    x = load_photo("grace_hopper", SIDE)
    op = Tomography((1, SIDE, SIDE), 60, GaussianNoise(0.3))
    y = op(x, generator=generator_from(4))
    margin = (op.bins - 180) // 2
    views = y.mT[..., margin : margin + 180, :].repeat_interleave(3, -1)
    return _scored(views / views.max(), _smoothest(op, y, 1.0), x)


def _smoothest(op: LinearOperator, y: Tensor, lam: float) -> Tensor:
    """argmin_u 1/2 |A u - y|^2 + lam |grad u|^2, where there is no closed form."""
    f = LeastSquares(op, y) + Tychonov(lam)
    return conjugate_gradient(f.hvp, op.A_adjoint(y), rtol=1e-5).x


def _scored(measured: Tensor, restored: Tensor, truth: Tensor) -> Restored:
    return measured, restored, f"restored, {psnr(restored, truth).item():.1f} dB"


if __name__ == "__main__":
    path = course_root() / "book" / "_static" / "gallery.png"
    gallery().savefig(path, dpi=200, facecolor="white", metadata={"Software": None})
    print(f"Written to {path}")
