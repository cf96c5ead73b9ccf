"""Probabilities of pictures of any size, grey or in colour; and that the released one sees."""

import pytest
import torch

from course_lib.data import load_photo
from course_lib.models import load_pretrained
from course_lib.models.damage_detector import DamageDetector


def test_before_training_nothing_is_known():
    x = torch.rand(2, 3, 13, 17)
    assert torch.equal(DamageDetector().probability(x), torch.full((2, 1, 13, 17), 0.5))


def test_colour_is_seen_as_its_mean():
    detector = load_pretrained("detector_photos64")
    x = torch.rand(1, 3, 24, 30)
    torch.testing.assert_close(detector(x), detector(x.mean(1, keepdim=True)))


def test_the_released_detector_sees_a_scratch_and_no_damage_beside_it():
    x = load_photo("camera")[..., :128, :128].clone()
    x[..., 60:62, 20:100] = 1.0
    found = load_pretrained("detector_photos64").probability(x)
    assert found[..., 60:62, 24:96].mean() > 0.8
    assert (found[..., 66:, :] > 0.5).float().mean() < 0.1


@pytest.mark.parametrize("shape", [(1, 2, 8, 8), (2, 4, 8, 8)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected pictures \(B, 1 or 3, H, W\)"):
        DamageDetector()(torch.rand(shape))
