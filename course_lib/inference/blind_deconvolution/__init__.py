"""Blind deconvolution: neither the image nor the kernel is known."""

from course_lib.inference.blind_deconvolution.alternation import (
    BlindSolution,
    Snapshot,
    blind_deconvolution,
)
from course_lib.inference.blind_deconvolution.image_step import ImageStep, deconvolve
from course_lib.inference.blind_deconvolution.kernel_step import (
    KernelMisfit,
    KernelStep,
    first_kernels,
    on_simplex,
    slope_through_projection,
)
from course_lib.inference.blind_deconvolution.potentials import DenoiserPotential, Potential

__all__ = [
    "BlindSolution",
    "DenoiserPotential",
    "ImageStep",
    "KernelMisfit",
    "KernelStep",
    "Potential",
    "Snapshot",
    "blind_deconvolution",
    "deconvolve",
    "first_kernels",
    "on_simplex",
    "slope_through_projection",
]
