"""Training: one loop for every model of the course, which survives being killed."""

from course_lib.training.loop import Batch, Dataset, Objective, Training, train
from course_lib.training.settings import Settings

__all__ = ["Batch", "Dataset", "Objective", "Settings", "Training", "train"]
