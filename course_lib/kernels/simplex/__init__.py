"""Exact projection on the probability simplex."""

from course_lib.kernels.simplex.projection import project_simplex

__all__ = ["project_simplex"]
