"""Bits of 8-bit images, and densities of grey levels."""

import math

import pytest
import torch

from course_lib.diffusion import bits_per_dimension, dequantise


def test_bits_and_ranges():
    """Uniform 8-bit noise costs 8 bits in any range; doubling the range adds n log 2 nats."""
    nats = torch.zeros(1)
    assert bits_per_dimension(nats, 100).item() == pytest.approx(8)
    assert bits_per_dimension(nats[0], 100).item() == pytest.approx(8)  # one image
    assert bits_per_dimension(nats + 100 * math.log(2), 100, 2.0).item() == pytest.approx(8)


def test_dequantise(generator):
    x = torch.randint(0, 256, (4, 1, 50, 50), generator=generator).float() / 255
    spread = dequantise(x, generator=generator)
    assert (spread >= 0).all()
    assert (spread < 1).all()
    assert ((256 * spread).floor() == 255 * x).float().mean() > 0.999  # but for rounding
    with pytest.raises(ValueError, match="multiples of 1/255"):
        dequantise(x + 1e-3, generator=generator)
