"""The banded Cholesky factor of a precision matrix on the pixel grid."""

from course_lib.kernels.banded_cholesky._reference import causal_offsets
from course_lib.kernels.banded_cholesky.factor import BandedCholesky

__all__ = ["BandedCholesky", "causal_offsets"]
