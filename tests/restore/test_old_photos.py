"""Masks, colours and sizes of the chain; its networks are replaced by ones that are understood."""

import pytest
import torch

from course_lib.restore.old_photos import OldPhotoRestorer
from course_lib.rng import generator_from


def white_is_damage(x):
    return (x > 0.95).to(x)


def fill_with_half(x, mask):
    return torch.where(mask > 0, 0.5, x)


CHAIN = OldPhotoRestorer(white_is_damage, fill_with_half)


def photo(*size):
    return 0.2 + 0.6 * torch.rand(*size, generator=generator_from(0))


@pytest.mark.parametrize("size", [(1, 100, 130), (1, 20, 70), (1, 1, 1), (3, 90, 80)])
def test_intact_photographs_of_any_size_stay_as_they_are(size):
    x = photo(*size)
    found = CHAIN.restore(x)
    torch.testing.assert_close(found.estimate, x, rtol=0, atol=1e-6)  # blending and float32 colours
    assert not found.mask.any()


def test_a_scratch_is_found_with_a_pixel_around_it_and_filled():
    x = photo(1, 80, 90)
    x[:, 30, 10:60] = 1.0
    found = CHAIN.restore(x)
    expected = torch.zeros(1, 80, 90)
    expected[:, 29:32, 9:61] = 1
    assert torch.equal(found.mask, expected)
    torch.testing.assert_close(found.estimate, torch.where(expected > 0, 0.5, x))


def test_lost_colours_are_those_of_the_nearest_pixel():
    x = torch.tensor([0.7, 0.4, 0.1])[:, None, None].repeat(1, 70, 70)
    x[:, :, 35:] = torch.tensor([0.1, 0.4, 0.7])[:, None, None]
    mask = torch.zeros(1, 70, 70)
    mask[:, 20:30, 20:50] = 1
    found = CHAIN.restore(x, mask)
    assert torch.equal(found.mask, mask)
    # The grey (R + G + B) / 3 becomes 1/2, the differences of colours stay those of each half.
    expected = torch.where(mask > 0, x - 0.4 + 0.5, x)
    torch.testing.assert_close(found.estimate, expected, rtol=0, atol=1e-6)


def test_a_mask_of_everything_is_left_to_the_network():
    found = CHAIN.restore(photo(3, 66, 64), torch.ones(1, 66, 64))
    torch.testing.assert_close(found.estimate.mean(0), torch.full((66, 64), 0.5))


def test_refusals():
    with pytest.raises(ValueError, match=r"expected a photograph \(C, H, W\) with C = 1 or 3"):
        CHAIN.restore(photo(2, 70, 70))
    with pytest.raises(ValueError, match=r"the mask has \(70, 71\) pixels, the photograph"):
        CHAIN.restore(photo(1, 70, 70), torch.ones(1, 70, 71))
