"""Richardson and Lucy's iteration for light that is counted, with the kernel known or not."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fft import rfft2

from course_lib.batch import image_sides, image_size
from course_lib.inference.blind_deconvolution.alternation import BlindSolution
from course_lib.inference.blind_deconvolution.kernel_step import (
    Init,
    KernelSize,
    correlation_at_taps,
    first_kernels,
)
from course_lib.operators import BlurEach
from course_lib.solvers.solution import History


@torch.no_grad()
def blind_richardson_lucy(
    y: Float[Tensor, "b c h w"],
    kernel_size: KernelSize,
    init: Init | Tensor = "wide",
    *,
    n_outer: int = 20,
    n_inner: int = 10,
) -> BlindSolution:
    r"""Image and kernel by turns, each by expectation-maximisation for y ~ Poisson(h * x).

    x <- x . H^T(y / (h * x)) / H^T 1, and the same with the roles of x and h exchanged: the
    likelihood never falls, taps and pixels stay >= 0, light is conserved. There is no prior; one
    stops before noise is fitted. Images and kernels start from y and from `init`.

    Args:
        y: blurred images >= 0, as photons are: clamp noise that made them negative.
        kernel_size, init: as of `blind_deconvolution`.
        n_outer, n_inner: turns, and steps on the kernel and then on the image in each.

    Returns:
        BlindSolution with history "kl": the divergence sum of y log(y / (h * x)) - y + h * x,
        a row for each turn.

    Raises:
        ValueError: negative y.

    Source: Richardson 1972, doi:10.1364/JOSA.62.000055; Lucy 1974, doi:10.1086/111605; Fish et al.
    1995, doi:10.1364/JOSAA.12.000058 (blind).
    """
    if not (y >= 0).all():
        raise ValueError(
            f"blind_richardson_lucy: counts of light cannot be negative, got a minimum of "
            f"{y.min().item():.3g}. Use y.clamp(min=0)."
        )
    kernel = first_kernels(init, kernel_size, y)
    size, img_size = image_sides(kernel), image_size(y)
    x, record = y.clamp(min=torch.finfo(y.dtype).eps), History("kl")
    for _ in range(n_outer):
        for _ in range(n_inner):
            share = _share(y, BlurEach(kernel, img_size).A(x))
            taps = correlation_at_taps(rfft2(x), rfft2(share), size, img_size[1:])
            kernel = (kernel * taps).clamp(min=0)  # rounding of the transforms
            kernel = kernel / kernel.sum((1, 2, 3), keepdim=True)
        op = BlurEach(kernel, img_size)
        for _ in range(n_inner):
            x = (x * op.A_adjoint(_share(y, op.A(x)))).clamp(min=torch.finfo(y.dtype).tiny)
        mean = op.A(x)
        kl = torch.special.xlogy(y, _share(y, mean)) - y + mean
        record.add(kl=kl.flatten(1).sum(1))
    return BlindSolution(x, "max_iter", record.stack(), n_outer, kernel=kernel)


def _share(y: Tensor, mean: Tensor) -> Tensor:
    """y / (h * x), where the transforms may have rounded a dark h * x to nothing."""
    return y / mean.clamp(min=torch.finfo(y.dtype).eps)
