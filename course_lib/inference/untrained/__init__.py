"""Priors that no data set trained."""

from course_lib.inference.untrained.deep_image_prior import (
    DeepImagePriorSolution,
    deep_image_prior,
)
from course_lib.inference.untrained.fit_singan import AdversarialTraining, Pyramid, fit_singan
from course_lib.inference.untrained.harmonise import harmonise
from course_lib.inference.untrained.impedance import TARGETS, Impedance, impedance
from course_lib.inference.untrained.network_descent import NetworkDescent
from course_lib.inference.untrained.singan_enlarge import singan_enlarge
from course_lib.inference.untrained.stopping_rules import DiscrepancyRule, VarianceRule

__all__ = [
    "TARGETS",
    "AdversarialTraining",
    "DeepImagePriorSolution",
    "DiscrepancyRule",
    "Impedance",
    "NetworkDescent",
    "Pyramid",
    "VarianceRule",
    "deep_image_prior",
    "fit_singan",
    "harmonise",
    "impedance",
    "singan_enlarge",
]
