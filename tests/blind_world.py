"""A small Gaussian world of blurred images whose answers are known in closed form.

Images have a few dozen pixels; in double precision sums over them round at about 1e-15.
"""

import math

import torch

from course_lib.exact import power_law
from course_lib.fourier import half_spectrum_weights, squared_modulus
from course_lib.functionals import SmoothedTV
from course_lib.inference.blind_deconvolution import (
    data_fidelity,
)
from course_lib.operators import Blur
from course_lib.rng import generator_from

F64 = torch.float64
SIZE = (1, 12, 11)  # odd and even, not square
SIGMA, LEVEL = 0.05, 0.05  # of the noise in y; of the law that the denoiser knows
WORLD = power_law(SIZE)
TV = SmoothedTV(3.0, 0.02)
SIGNAL = (1, 1, 24)  # a signal is an image of one row


def kernels(n=3, size=(3, 5), seed=1):
    return (
        torch.rand(n, 1, *size, generator=generator_from(seed), dtype=F64)
        .flatten(1)
        .softmax(1)
        .view(n, 1, *size)
    )


def spectrum(kernel, size=SIZE):
    """|h^|^2 on the half grid."""
    return Blur(kernel, size).gain


def exact_image(kernel, y, law=None):
    """The minimiser over x for the Gaussian law at noise level LEVEL: a Wiener filter."""
    law = WORLD.spectrum + LEVEL**2 if law is None else law
    op = Blur(kernel, SIZE)
    gain = op.transfer.conj() * law / (op.gain * law + SIGMA**2)
    return 0.5 + torch.fft.irfft2(gain * torch.fft.rfft2(y - 0.5), s=SIZE[1:])


def exact_profile(kernel, y):
    """min over x of F, without what does not depend on h: a sum over frequencies."""
    law = WORLD.spectrum + LEVEL**2
    energy = squared_modulus(torch.fft.rfft2(y - 0.5)) / math.prod(SIZE)
    weights = half_spectrum_weights(SIZE[1:])
    terms = weights * energy * SIGMA**2 / (spectrum(kernel) * law + SIGMA**2)
    return terms.flatten(1).sum(1) / 2


def heat(t):
    """The kernel exp(t Laplacian), >= 0, a semigroup."""
    rows, columns = (torch.fft.fftfreq(n, dtype=F64) for n in SIZE[1:])
    symbol = 4 * (math.pi * rows[:, None]).sin() ** 2 + 4 * (math.pi * columns).sin() ** 2
    around_zero = torch.fft.ifft2((-t * symbol).exp()).real.clamp(min=0)
    return torch.fft.fftshift(around_zero)[None, None]


def objective(q, x, kernel, basis, y):
    """F as a function of one vector, written anew."""

    def F(v):
        image = v[: x.numel()].view_as(x)
        h = kernel + torch.tensordot(v[x.numel() :], basis, dims=1)[None]
        return (
            data_fidelity(Blur(h, tuple(x.shape[1:])), image, y).sum()
            + SIGMA**2 * q.value(image).sum()
        )

    return F


def newton(q, x, kernel, basis, y):
    """The minimiser near (x, 0), with dense Hessians of autograd."""
    F, v = objective(q, x, kernel, basis, y), torch.cat([x.flatten(), x.new_zeros(len(basis))])
    for _ in range(20):
        slope = torch.autograd.functional.jacobian(F, v)
        v = v - torch.linalg.solve(torch.autograd.functional.hessian(F, v), slope)
    assert slope.norm() < 1e-12
    return v - torch.cat([x.flatten(), x.new_zeros(len(basis))])
