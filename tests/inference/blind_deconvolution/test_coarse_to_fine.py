"""Stages are runs of blind deconvolution one after the other."""

import pytest
import torch

from course_lib.inference.blind_deconvolution import (
    Alternation,
    Stage,
    blind_deconvolution,
    coarse_to_fine,
)


def test_stages_are_runs_one_after_the_other(three):
    """Each from the kernel of the last and from y; counts and histories go on."""
    law, _, _, y = three
    stages = [Stage(0.2, 0.5, 4), Stage(0.1, 0.0, 3)]
    options = {"sigma": 0.01, "alternation": Alternation(n_inner=2, restart=None)}
    found = coarse_to_fine(law, y, 5, stages, "flat", snapshots=(0, 2, 4, 5, 7), **options)
    one = blind_deconvolution(law, y, 5, "flat", stage=stages[0], **options)
    two = blind_deconvolution(law, y, 5, one.kernel, stage=stages[1], **options)
    assert torch.equal(found.x, two.x)
    assert torch.equal(found.kernel, two.kernel)
    assert torch.equal(
        found.history["data_fidelity"],
        torch.cat([one.history["data_fidelity"], two.history["data_fidelity"]]),
    )
    assert (found.iterations, found.evaluations) == (7, 14)
    assert [s.iteration for s in found.snapshots] == [0, 2, 4, 5, 7]
    assert torch.equal(found.snapshots[2].kernel, one.kernel)
    assert torch.equal(found.snapshots[4].kernel, two.kernel)
    with pytest.raises(ValueError, match="at least one stage"):
        coarse_to_fine(law, y, 5, [], **options)
