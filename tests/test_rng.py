"""Draws that are functions of (seed, index, column): the foundation of the endless worlds."""

import inspect
import math

import pytest
import torch
from scipy.stats import kstest

from course_lib.rng import check_generator, counter_normal, counter_uniform, normal_like

INDEX = torch.arange(200)


@pytest.mark.parametrize("draw", [counter_uniform, counter_normal])
def test_a_row_depends_on_its_index_alone(draw):
    """Not on order, batch or length; seeds and streams give other numbers."""
    rows = draw(3, INDEX, 20)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    assert torch.equal(draw(3, order, 20), rows[order])
    assert torch.equal(draw(3, INDEX[57:58], 20), rows[57:58])
    assert torch.equal(draw(3, INDEX, 8), rows[:, :8])
    for other in (draw(4, INDEX, 20), draw(3, INDEX, 20, stream=1)):
        assert (other != rows).float().mean() > 0.99


def test_known_words_of_splitmix():
    """Steele, Lea & Flood's generator with state 0 begins with this word; its mixer is ours."""
    import numpy as np

    from course_lib.rng import _mix

    golden = np.array([0x9E3779B97F4A7C15], np.uint64)
    assert _mix(golden)[0] == np.uint64(0xE220A8397B1DCDAF)


@pytest.mark.parametrize(("draw", "law"), [(counter_uniform, "uniform"), (counter_normal, "norm")])
def test_distribution(draw, law):
    """Kolmogorov-Smirnov on 100,000 numbers: a fixed draw, which passes at a level of 1%."""
    sample = draw(0, INDEX, 500)
    assert kstest(sample.flatten().numpy(), law).pvalue > 0.01
    correlation = torch.corrcoef(sample - sample.mean()) - torch.eye(200)
    assert correlation.abs().max() < 5 / 500**0.5  # 20,000 pairs, standard error 1 / sqrt(500)


def test_normal_numbers_are_those_of_box_and_muller(monkeypatch):
    """Also at the ends of the grid of 2^-24: u = 0 comes once in 16 million, and must be finite."""
    u = torch.tensor([[0.0, 0.3, 1 - 2**-24, 0.75, 0.5, 0.0]])
    monkeypatch.setattr("course_lib.rng.counter_uniform", lambda *_, **__: u)
    found = counter_normal(0, torch.zeros(1).long(), 6)
    pairs = [(0.0, 0.0), (0.0, -((48 * math.log(2)) ** 0.5)), ((2 * math.log(2)) ** 0.5, 0.0)]
    torch.testing.assert_close(found, torch.tensor(pairs).view(1, 6), rtol=1e-6, atol=1e-6)


def test_uniform_range_and_odd_lengths():
    sample = counter_uniform(1, INDEX, 1001)
    assert sample.dtype == torch.float32
    assert sample.min() >= 0
    assert sample.max() < 1
    assert counter_normal(1, INDEX, 7).shape == (200, 7)


def test_negative_seed():
    with pytest.raises(ValueError, match="seed must be 0 or more, got -1"):
        counter_uniform(-1, INDEX, 3)


def test_a_missing_generator_is_refused():
    """None would silently mean the global seed."""
    with pytest.raises(TypeError):
        normal_like(torch.zeros(3), None)
    with pytest.raises(TypeError, match=r"f: expected a torch\.Generator, got NoneType"):
        inspect.unwrap(check_generator)("f", None)
