"""Kernels: a slow truth in torch, fast twins in Numba and Triton, one door in front of the three.

Each folder holds one formula: `__init__.py` is the door, `_reference.py` the page of the book.
"""
