"""Solvers: they see callables, and return a Solution."""

from course_lib.kernels.simplex import project_simplex
from course_lib.solvers.accelerated import accelerated_gradient, continuation
from course_lib.solvers.batched_descent import LBFGS, Adam, minimise
from course_lib.solvers.conjugate_gradient import conjugate_gradient
from course_lib.solvers.gradient import gradient_descent
from course_lib.solvers.parameter_choice import (
    discrepancy_principle,
    generalised_cross_validation,
    oracle_weight,
)
from course_lib.solvers.primal_dual import primal_dual_tv
from course_lib.solvers.projection import project_box, project_consistent
from course_lib.solvers.proximal import accelerated_proximal_gradient, proximal_gradient
from course_lib.solvers.solution import Solution
from course_lib.solvers.tychonov import hessian_spectrum, tychonov
from course_lib.solvers.wiener import wiener

__all__ = [
    "LBFGS",
    "Adam",
    "Solution",
    "accelerated_gradient",
    "accelerated_proximal_gradient",
    "conjugate_gradient",
    "continuation",
    "discrepancy_principle",
    "generalised_cross_validation",
    "gradient_descent",
    "hessian_spectrum",
    "minimise",
    "oracle_weight",
    "primal_dual_tv",
    "project_box",
    "project_consistent",
    "project_simplex",
    "proximal_gradient",
    "tychonov",
    "wiener",
]
