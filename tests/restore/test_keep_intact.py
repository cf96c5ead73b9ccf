"""Pixels are kept where, and only where, the network changes an image by little."""

import pytest
import torch

from course_lib.restore import keep_intact
from course_lib.rng import generator_from


def test_each_image_by_its_own_change():
    """A network that adds 0.01 and 0.1: the first image is kept outside its hole, not the other."""
    x = torch.rand(2, 3, 8, 8, generator=generator_from(0))
    mask = torch.zeros(2, 1, 8, 8)
    mask[:, :, 2:5, 1:4] = 1
    shift = torch.tensor([0.01, 0.1]).view(-1, 1, 1, 1)
    restored = keep_intact(lambda image, hole: image + shift, threshold=0.012)(x, mask)
    hole = mask.expand_as(x) > 0
    assert torch.equal(restored[0][~hole[0]], x[0][~hole[0]])
    assert torch.equal(restored[0][hole[0]], (x + shift)[0][hole[0]])
    assert torch.equal(restored[1], (x + shift)[1])


def test_the_hole_does_not_count():
    """However much is painted into the hole, the rest decides; all lost: nothing to keep."""
    x, mask = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    mask[..., 0] = 1
    restored = keep_intact(lambda image, hole: image + hole + 0.001)(x, mask)
    assert torch.equal(restored, mask * 1.001)
    lost = torch.ones_like(mask)
    assert torch.equal(keep_intact(lambda image, hole: image + 1)(x, lost), x + 1)


def test_negative_threshold():
    with pytest.raises(ValueError, match=r"at least 0, got -0\.1"):
        keep_intact(lambda image, hole: image, threshold=-0.1)
