"""Solvers: they see callables, and return a Solution."""

from course_lib.solvers.conjugate_gradient import conjugate_gradient
from course_lib.solvers.gradient import gradient_descent
from course_lib.solvers.parameter_choice import discrepancy_principle, generalised_cross_validation
from course_lib.solvers.projection import project_box, project_consistent
from course_lib.solvers.solution import Solution
from course_lib.solvers.wiener import hessian_spectrum, wiener, wiener_filter

__all__ = [
    "Solution",
    "conjugate_gradient",
    "discrepancy_principle",
    "generalised_cross_validation",
    "gradient_descent",
    "hessian_spectrum",
    "project_box",
    "project_consistent",
    "wiener",
    "wiener_filter",
]
