"""Forward operators y = A(x) + noise, with the method names of deepinv's physics."""

from course_lib.operators.base import LinearOperator, Operator
from course_lib.operators.blur import Blur, BlurEach
from course_lib.operators.composition import Composition
from course_lib.operators.compressed_sensing import CompressedSensing
from course_lib.operators.deepinv import to_deepinv
from course_lib.operators.denoising import Denoising
from course_lib.operators.downsample import Downsampling, bicubic_downsampling, bicubic_upsampling
from course_lib.operators.inpainting import Inpainting, central_hole
from course_lib.operators.luminance import Luminance
from course_lib.operators.measure import measure
from course_lib.operators.mirrored_blur import MirroredBlur, mirror
from course_lib.operators.mri import MRI, cartesian_mask
from course_lib.operators.noise import GaussianNoise, PoissonNoise
from course_lib.operators.phase_retrieval import PhaseRetrieval
from course_lib.operators.point_spread import (
    airy_kernel,
    bicubic_kernel,
    box_kernel,
    defocus_kernel,
    gaussian_kernel,
    motion_kernel,
    wrap_kernel,
)
from course_lib.operators.restricted_singular_values import restricted_singular_values
from course_lib.operators.tomography import Tomography

__all__ = [
    "MRI",
    "Blur",
    "BlurEach",
    "Composition",
    "CompressedSensing",
    "Denoising",
    "Downsampling",
    "GaussianNoise",
    "Inpainting",
    "LinearOperator",
    "Luminance",
    "MirroredBlur",
    "Operator",
    "PhaseRetrieval",
    "PoissonNoise",
    "Tomography",
    "airy_kernel",
    "bicubic_downsampling",
    "bicubic_kernel",
    "bicubic_upsampling",
    "box_kernel",
    "cartesian_mask",
    "central_hole",
    "defocus_kernel",
    "gaussian_kernel",
    "measure",
    "mirror",
    "motion_kernel",
    "restricted_singular_values",
    "to_deepinv",
    "wrap_kernel",
]
