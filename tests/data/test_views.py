"""Views of a set of images: sizes, and labels."""

import pytest
import torch
from torch.nn.functional import avg_pool2d

from course_lib.data import load_crops
from course_lib.data.cache import ImageSet
from course_lib.data.views import EitherSize, Halved, Labelled
from course_lib.project import CourseError


def test_half_the_resolution():
    x = load_crops(3).images
    assert len(Halved(x)) == 3
    torch.testing.assert_close(Halved(x)[torch.tensor([2, 0])], avg_pool2d(x[[2, 0]], 2))


def test_batches_of_either_size():
    """By the number of the first image; either way they cost the same, up to a rounded quarter."""
    x = load_crops(7).images
    set_of_both = EitherSize(x)
    assert len(set_of_both) == 7
    torch.testing.assert_close(set_of_both[torch.tensor([2, 3])], avg_pool2d(x[2:4], 2))
    assert torch.equal(set_of_both[torch.tensor([3, 2, 0, 1, 4])], x[torch.tensor([3, 2])])


def test_labels_come_with_their_images():
    images = (load_crops(4).images * 255).byte()
    pairs = Labelled(ImageSet(images, "", "", labels=torch.tensor([3, 1, 4, 1])))
    x, label = pairs[torch.tensor([2, 0])]
    assert label.tolist() == [4, 3]
    assert torch.equal(x, images[[2, 0]].float() / 255)
    with pytest.raises(CourseError, match="these images have no labels"):
        Labelled(ImageSet(images, "", ""))
