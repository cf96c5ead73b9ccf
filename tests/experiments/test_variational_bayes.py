"""What the numbers of chapter 11 rest on."""

import pytest

from course_lib.experiments.variational_bayes import problem


def test_half_of_the_pixels_exactly():
    mask = problem("inpaint").mask
    assert mask.sum() == 64 * 64 / 2


@pytest.mark.parametrize("name", ["deblur", "deblur_fine", "x2", "inpaint"])
def test_noise_is_in_the_unit_of_the_image(name):
    levels = {"deblur": 7.65, "deblur_fine": 2.55, "x2": 1.0, "inpaint": 1.0}
    assert problem(name).noise_model.sigma == pytest.approx(levels[name] / 255)
