"""Priors that no data set trained."""

from course_lib.inference.untrained.deep_image_prior import (
    DeepImagePriorSolution,
    deep_image_prior,
)
from course_lib.inference.untrained.impedance import TARGETS, Impedance, impedance
from course_lib.inference.untrained.network_descent import NetworkDescent
from course_lib.inference.untrained.singan import fit_singan, harmonise, singan_enlarge
from course_lib.inference.untrained.stopping_rules import DiscrepancyRule, VarianceRule

__all__ = [
    "TARGETS",
    "DeepImagePriorSolution",
    "DiscrepancyRule",
    "Impedance",
    "NetworkDescent",
    "VarianceRule",
    "deep_image_prior",
    "fit_singan",
    "harmonise",
    "impedance",
    "singan_enlarge",
]
