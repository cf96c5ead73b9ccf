"""Functionals: value, gradient, and proximal map where it has a closed form."""

from course_lib.functionals.base import Functional
from course_lib.functionals.denoiser_priors import PlugAndPlay, RegularisationByDenoising
from course_lib.functionals.density import fitted_potential
from course_lib.functionals.invariant_sparsity import InvariantSparsity
from course_lib.functionals.least_squares import LeastSquares, MaskedLeastSquares
from course_lib.functionals.sparsity import DCT, Sparsity, Wavelets, keep_largest
from course_lib.functionals.total_variation import SmoothedTV
from course_lib.functionals.tychonov import Ridge, Tychonov

__all__ = [
    "DCT",
    "Functional",
    "InvariantSparsity",
    "LeastSquares",
    "MaskedLeastSquares",
    "PlugAndPlay",
    "RegularisationByDenoising",
    "Ridge",
    "SmoothedTV",
    "Sparsity",
    "Tychonov",
    "Wavelets",
    "fitted_potential",
    "keep_largest",
]
