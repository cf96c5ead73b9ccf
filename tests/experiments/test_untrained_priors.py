"""The tasks of chapter 8."""

import pytest
import torch

from course_lib.experiments.untrained_priors import DGP_NOISE, bending_tasks


def test_tasks_of_the_deep_generative_prior():
    """A hole of 24 x 24 in the middle of 64 x 64, and a quarter of the resolution; same noise."""
    tasks = bending_tasks()
    lost = 1 - tasks["hole"].mask
    assert lost.sum() == 24**2
    assert torch.equal(lost, lost.flip(-1))
    assert torch.equal(lost, lost.flip(-2))
    assert tasks["x4"].measurement_size == (1, 16, 16)
    for op in tasks.values():
        assert op.noise_model.sigma == pytest.approx(DGP_NOISE)
