"""Mode coverage of samples, on plates whose characters are known."""

import math

import pytest
import torch

from course_lib.data import plates
from course_lib.models.reading import read_samples


def test_reading_of_real_plates():
    """Real plates are read well and show every character: 360 of them, 10 of each on average."""
    x, factors = plates.sample(torch.arange(360), seed=5)
    read = read_samples(x)
    assert read.readable > 0.9
    assert read.characters == 36
    assert (read.character == factors.character).float().mean() > 0.95
    # Entropy of a uniform multinomial sample: log 36 - 35 / (2 n) on average, n = 360.
    assert read.entropy == pytest.approx(math.log(36) - 35 / 720, abs=0.05)


def test_reading_of_one_plate_many_times():
    x, _ = plates.sample(torch.tensor([0]), seed=5)
    read = read_samples(x.expand(50, -1, -1, -1))
    assert read.characters == 1
    assert read.entropy == 0
