"""Training: one loop for every model of the course, which survives being killed."""

from course_lib.protocols import Batch, Dataset
from course_lib.training.elbo import NegativeElbo, UnscaledElbo
from course_lib.training.loop import Training, train
from course_lib.training.objective import Objective
from course_lib.training.settings import Settings

__all__ = [
    "Batch",
    "Dataset",
    "NegativeElbo",
    "Objective",
    "Settings",
    "Training",
    "UnscaledElbo",
    "train",
]
