"""Kernels: a slow truth in torch, fast twins in Numba and Triton, one door in front of the three.

Each folder holds one formula; its `_reference.py` is the page of the book.
"""
