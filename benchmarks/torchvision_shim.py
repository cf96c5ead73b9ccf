"""Let deepinv import torchvision where its compiled operators do not fit the installed torch."""

from course_lib.metrics.torchvision_shim import make_torchvision_importable

__all__ = ["make_torchvision_importable"]
