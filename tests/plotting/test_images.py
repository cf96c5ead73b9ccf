"""Images side by side and spectra: what is accepted, what is refused, where words stand."""

import numpy as np
import pytest
import torch

from course_lib.plotting import ColourScale, show_images, show_spectrum
from course_lib.plotting.style import SHARPNESS


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape", [(24, 31), (1, 24, 31), (3, 24, 31), (1, 1, 24, 31), (1, 3, 7, 5), (4, 1, 8, 8)]
)
def test_show_images_accepts_every_image_shape(shape, drawn):
    images = torch.rand(shape)
    assert drawn(show_images(images))[0] == SHARPNESS * 700
    assert len(show_images(images.numpy()).axes) == (4 if shape[0] == 4 else 1)


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((24, 31, 3), "movedim"),
        ((2, 24, 31), "channels-first|batch"),
        ((5,), "got shape"),
        ((1, 0, 3), "got shape"),
    ],
)
def test_show_images_refuses_other_shapes(shape, hint):
    with pytest.raises(ValueError, match=hint):
        show_images([torch.zeros(shape)])


def test_show_images_refuses_complex_empty_and_miscounted_input(photo):
    with pytest.raises(ValueError, match=r"\.abs\(\)"):
        show_images(photo.to(torch.complex64))
    with pytest.raises(ValueError, match="at least one"):
        show_images([])
    with pytest.raises(ValueError, match="titles: expected 2 strings, one an image, got 1"):
        show_images([photo, photo], ["only one"])
    with pytest.raises(ValueError, match="keys of the dict"):
        show_images({"a": photo}, ["b"])
    with pytest.raises(ValueError, match="does not lie inside an image of 24 x 31"):
        show_images(photo, zoom=(20, 0, 8, 8))


def test_psnr_stands_under_each_image_of_the_shape_of_the_truth(photo):
    figure = show_images(
        {"truth": photo, "offset": photo + 0.1, "small": photo[:, ::2, ::2]}, truth=photo
    )
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "20.00 dB", ""]  # 20 log10(1 / 0.1)
    assert "offset 20.00 dB" in figure.summary
    assert show_images(photo, captions="rank 3", truth=photo).axes[0].get_xlabel() == "rank 3"


def test_rows_are_named_at_their_left(photo):
    figure = show_images(photo.repeat(5, 1, 1, 1), columns=2, rows=["top", "middle", "last"])
    names = [panel.get_ylabel() for panel in figure.axes]
    assert names == ["top", "", "middle", "", "last"]
    with pytest.raises(ValueError, match="3 rows of images, 2 names of rows"):
        show_images(photo.repeat(5, 1, 1, 1), columns=2, rows=["top", "middle"])


def test_zoom_frames_the_same_detail_whatever_the_resolution(photo):
    figure = show_images([photo, photo[:, ::2, ::2]], truth=photo, zoom=(12, 0, 8, 6))
    insets = [axes.child_axes[0] for axes in figure.axes]
    assert insets[0].get_xlim() == (-0.5, 5.5)
    assert insets[0].get_ylim() == (19.5, 11.5)
    assert insets[1].get_ylim() == (9.5, 5.5)


def test_spectrum_of_an_impulse_is_flat_and_axes_are_cycles_per_pixel():
    impulse = torch.zeros(1, 1, 3, 5)
    impulse[..., 1, 2] = 1
    figure = show_spectrum({"impulse": impulse}, size=(16, 20))
    picture = figure.axes[0].images[0]
    assert picture.get_array().shape == (16, 20)
    np.testing.assert_allclose(picture.get_array(), 0, atol=1e-12)
    assert picture.get_extent() == pytest.approx(
        [-0.525, 0.475, 0.46875, -0.53125]
    )  # bins k / N, centred on their value
    with pytest.raises(ValueError, match="cannot pad"):
        show_spectrum(impulse, size=(2, 20))


def test_a_colour_scale_sets_the_range_and_the_map_of_grey_images(photo):
    figure = show_images(2 * photo - 1, scale=ColourScale(-1, 1, "RdBu_r"))
    picture = figure.axes[0].images[0]
    assert picture.get_clim() == (-1, 1)
    assert picture.get_cmap().name == "RdBu_r"
