"""Crops: from which photograph, and which are drawn again."""

import numpy as np
import pytest
from PIL import Image

from course_lib.data.crops import Cropper, Crops
from course_lib.project import CourseError

SCALE_1 = Crops(scales=(1.0,))


def photograph(folder, name, levels):
    """A file of these grey levels, (H, W)."""
    path = folder / f"{name}.png"
    Image.fromarray(np.asarray(levels, dtype=np.uint8)).save(path)
    return path


def stripes(low, high, every=2):
    """24 x 24 pixels, one column in `every` at the low level."""
    return np.where(np.arange(24) % every == 0, low, high)[None, :].repeat(24, 0)


def crop(files, number, crops=SCALE_1):
    return Cropper(tuple(files), crops, 16, colour=False)(range(number, number + 1))[0, 0]


def test_a_crop_is_a_window_of_its_photograph(tmp_path):
    levels = np.random.default_rng(0).integers(60, 200, (24, 24))
    found = crop([photograph(tmp_path, "a", levels)], 0)
    windows = np.lib.stride_tricks.sliding_window_view(levels, (16, 16)).reshape(-1, 16, 16)
    assert (windows == found).all((1, 2)).sum() == 1


@pytest.mark.parametrize(
    "refused",
    [np.full((24, 24), 128), stripes(124, 126), stripes(1, 120), stripes(254, 120)],
    ids=["flat", "little contrast", "black", "white"],
)
def test_a_flat_or_saturated_crop_is_drawn_from_the_next_photograph(tmp_path, refused):
    """Or not at all, where each photograph may give only one."""
    files = [photograph(tmp_path, "a", refused), photograph(tmp_path, "b", stripes(90, 150))]
    assert set(crop(files, 0).flatten()) == {90, 150}
    with pytest.raises(CourseError, match=r"32 crops of 16 x 16 pixels, from .*a\.png onwards"):
        crop(files, 0, Crops(scales=(1.0,), one_each=True))


@pytest.mark.parametrize("kept", [stripes(2, 120), stripes(253, 120), stripes(0, 120, every=8)])
def test_levels_near_the_ends_and_a_few_beyond_are_kept(tmp_path, kept):
    """A quarter of the pixels may be saturated: one column in eight is."""
    files = [photograph(tmp_path, "a", kept), photograph(tmp_path, "b", stripes(90, 150))]
    assert set(crop(files, 0).flatten()) == set(kept.flatten())
