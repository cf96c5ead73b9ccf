"""Blind deconvolution: neither the image nor the kernel is known."""

from course_lib.inference.blind_deconvolution.alternation import (
    Alternation,
    BlindSolution,
    Snapshot,
    Stage,
    blind_deconvolution,
)
from course_lib.inference.blind_deconvolution.coarse_to_fine import coarse_to_fine
from course_lib.inference.blind_deconvolution.conditions import (
    Conditions,
    conditions,
    potential_hessian,
)
from course_lib.inference.blind_deconvolution.image_step import (
    ImageObjective,
    ImageStep,
    data_fidelity,
    deconvolve,
)
from course_lib.inference.blind_deconvolution.kernel_step import (
    Init,
    KernelObjective,
    KernelStep,
    first_kernels,
    on_simplex,
    slope_through_projection,
)
from course_lib.inference.blind_deconvolution.known_image import kernel_of_known_image
from course_lib.inference.blind_deconvolution.potentials import DenoiserPotential, ImagePotential
from course_lib.inference.blind_deconvolution.profile import Profile, profile
from course_lib.inference.blind_deconvolution.published import (
    published_algorithm,
    published_start,
)
from course_lib.inference.blind_deconvolution.richardson_lucy import blind_richardson_lucy
from course_lib.inference.blind_deconvolution.second_order import (
    JointHessian,
    curvature,
    face_basis,
)

__all__ = [
    "Alternation",
    "BlindSolution",
    "Conditions",
    "DenoiserPotential",
    "ImageObjective",
    "ImagePotential",
    "ImageStep",
    "Init",
    "JointHessian",
    "KernelObjective",
    "KernelStep",
    "Profile",
    "Snapshot",
    "Stage",
    "blind_deconvolution",
    "blind_richardson_lucy",
    "coarse_to_fine",
    "conditions",
    "curvature",
    "data_fidelity",
    "deconvolve",
    "face_basis",
    "first_kernels",
    "kernel_of_known_image",
    "on_simplex",
    "potential_hessian",
    "profile",
    "published_algorithm",
    "published_start",
    "slope_through_projection",
]
