"""Portraits of puppets that nobody has ever met: an endless set of images with known factors.

A head is a signed distance function, drawn by marching rays. Portrait number i of the set
`seed` is a function of (seed, i) alone, so training and test sets are ranges of numbers.
"""

from course_lib.data.portraits.factors import (
    BALD,
    BUN,
    HAIR_STYLES,
    LONG,
    RANGES,
    SHORT,
    SIDE_PART,
    PortraitFactors,
    factors,
)
from course_lib.data.portraits.render import VERSION, render, sample
