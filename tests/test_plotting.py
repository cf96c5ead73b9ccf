"""Figures: what is accepted and refused, what is printed, and that drawing changes nothing."""

import base64
import re
from html.parser import HTMLParser
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from course_lib.plotting import (
    SHARPNESS,
    Slider,
    compare,
    decibels,
    film,
    plot_curves,
    plot_history,
    show_images,
    show_spectrum,
)


@pytest.fixture
def photo() -> torch.Tensor:
    return torch.rand(1, 24, 31, generator=torch.Generator().manual_seed(0))


def drawn(figure) -> tuple[int, int]:
    """Size in pixels (width, height) of the PNG that a notebook stores."""
    data, metadata = figure._repr_mimebundle_()
    size = Image.open(BytesIO(base64.b64decode(data["image/png"]))).size
    shown = [SHARPNESS * metadata["image/png"][side] for side in ("width", "height")]
    assert size == pytest.approx(shown, abs=1)
    return size


@pytest.mark.parametrize(
    "shape", [(24, 31), (1, 24, 31), (3, 24, 31), (1, 1, 24, 31), (1, 3, 7, 5), (4, 1, 8, 8)]
)
def test_show_images_accepts_every_image_shape(shape):
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


def test_inputs_are_never_changed(photo):
    wild = 3 * photo - 1  # values outside [0, 1] are drawn clipped
    wild[0, 0, 0] = float("nan")
    before = wild.clone().requires_grad_()
    kept = before.detach().clone()
    drawn(show_images({"a": before, "b": photo}, truth=photo, zoom=(1, 2, 5, 5)))
    drawn(show_spectrum(torch.nan_to_num(before)))
    compare(before, photo, alt="x", caption="y")
    torch.testing.assert_close(before.detach(), kept, rtol=0, atol=0, equal_nan=True)


def test_psnr_stands_under_each_image_of_the_shape_of_the_truth(photo):
    figure = show_images(
        {"truth": photo, "offset": photo + 0.1, "small": photo[:, ::2, ::2]}, truth=photo
    )
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "20.00 dB", ""]  # 20 log10(1 / 0.1)
    assert "offset 20.00 dB" in figure.summary
    assert show_images(photo, captions="rank 3", truth=photo).axes[0].get_xlabel() == "rank 3"


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


def test_history_of_solutions_lists_and_bounds():
    solution = SimpleNamespace(history={"objective": [3.0, 2.0, 1.5]})
    figure = plot_history(
        {"fixed": solution, "optimal": torch.tensor([3.0, 1.25])},
        reference=1.0,
        bounds={"fixed": [4, 2, 1]},
    )
    fixed, optimal, bound = figure.axes[0].lines
    assert list(fixed.get_ydata()) == [2, 1, 0.5]
    assert list(optimal.get_ydata()) == [2, 0.25]
    assert bound.get_color() == fixed.get_color()
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[0].get_xlabel() == "iteration"
    assert "objective" in figure.axes[0].get_ylabel()
    drawn(figure)
    batch = SimpleNamespace(history={"objective": torch.tensor([[3.0, 9.0], [2.0, 5.0]])})
    lines = plot_history({"two images": batch}, reference=torch.tensor([1.0, 4.0])).axes[0].lines
    assert [list(line.get_ydata()) for line in lines] == [[2, 1], [5, 1]]
    with pytest.raises(ValueError, match=r"no entry 'change'; it recorded \['objective'\]"):
        plot_history(solution, key="change")
    with pytest.raises(ValueError, match="logarithmic axis"):
        plot_history([1.0, 1.0], reference=1.0)


def test_bands_have_the_colour_and_width_of_their_curve():
    figure = plot_curves(
        [1, 2, 4], {"a": [3, 2, 5], "b": [1, 1, 1]}, "m", "dB", bands={"a": [0.5, 0.1, 1]}
    )
    axes = figure.axes[0]
    (band,) = axes.collections
    low, high = band.get_paths()[0].get_extents().intervaly
    assert (low, high) == (1.9, 6.0)  # 2 - 0.1 and 5 + 1
    colour = to_rgb(axes.lines[0].get_color())
    assert tuple(band.get_facecolor()[0][:3]) == colour


def test_captions_in_decibels():
    truth = torch.zeros(2, 1, 4, 4)
    assert decibels(truth, truth + 0.1, truth=truth) == ["truth", "truth", "20.0 dB", "20.0 dB"]


def test_curves_and_marked_points():
    figure = plot_curves(
        [1, 2, 4],
        {"error": [3, 2, 5], "predicted": [3, 2, 4]},
        r"$\lambda$",
        "PSNR (dB)",
        log="x",
        marks={"oracle": (2, 2)},
        dashed=("predicted",),
    )
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "error",
        "predicted",
        "oracle",
    ]
    drawn(figure)
    with pytest.raises(ValueError, match="2 values for 3 abscissae"):
        plot_curves([1, 2, 3], {"a": [1, 2]}, "x", "y")
    with pytest.raises(ValueError, match="expected"):
        plot_curves([1], {"a": [1]}, "x", "y", log="z")


class _Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, name: str) -> list[dict]:
        return [attrs for tag, attrs in self.tags if tag == name]


def test_slider_is_one_labelled_input_over_two_described_pictures(photo):
    comparison = compare(
        photo + 0.1,
        photo,
        ("noisy", 'the "truth"'),
        alt="A <face>",
        caption="Before & after.",
        truth=photo,
    )
    html = comparison._repr_mimebundle_()["text/html"]
    page = _Tags(html)
    (slider,), pictures = page.all("input"), page.all("img")
    assert slider["type"] == "range"
    assert "noisy, 20.00 dB" in slider["aria-label"]
    assert [p["alt"] for p in pictures] == ["A <face> (noisy, 20.00 dB)", 'A <face> (the "truth")']
    for picture, expected in zip(pictures, (photo + 0.1, photo), strict=True):
        decoded = Image.open(
            BytesIO(base64.b64decode(picture["src"].removeprefix("data:image/png;base64,")))
        )
        assert decoded.size == (31, 24)
        np.testing.assert_allclose(
            np.asarray(decoded) / 255, expected[0].clip(0, 1), atol=0.5 / 255 + 1e-6
        )
    assert "Before &amp; after." in html
    assert not any("id" in attrs for _, attrs in page.tags)  # several sliders share a page
    assert not re.search(r"https?:|//|@import|url\(", re.sub(r'src="data:[^"]*"', "", html))


def test_slider_falls_back_to_a_picture_and_to_words(photo):
    comparison = compare(photo, photo.expand(3, -1, -1), alt="a face", caption="Grey and colour.")
    bundle = comparison._repr_mimebundle_()
    assert isinstance(comparison, Slider)
    assert Image.open(BytesIO(base64.b64decode(bundle["image/png"]))).size == (31 + 8 + 31, 24)
    assert (
        bundle["text/plain"]
        == repr(comparison)
        == "Comparison of degraded with restored: Grey and colour."
    )


def test_slider_refuses_what_a_reader_could_not_use(photo):
    with pytest.raises(ValueError, match="alt and caption"):
        compare(photo, photo, alt=" ", caption="y")
    with pytest.raises(ValueError, match=r"one size.*\(24, 31\) and \(12, 31\)"):
        compare(photo, photo[:, ::2], alt="x", caption="y")
    with pytest.raises(ValueError, match="at most 512"):
        compare(torch.zeros(1, 513, 4), torch.zeros(1, 513, 4), alt="x", caption="y")


def test_film_is_one_input_over_its_frames(photo):
    frames = [photo, 0.5 * photo, 0 * photo]
    shown = film(frames, ["start", "<half>", "end"], alt="A face", caption="Fading & gone.")
    html = shown._repr_mimebundle_()["text/html"]
    page = _Tags(html)
    (slider,), pictures = page.all("input"), page.all("img")
    assert (slider["type"], slider["min"], slider["max"], slider["value"]) == (
        "range",
        "0",
        "2",
        "0",
    )
    assert [p["alt"] for p in pictures] == ["A face (start)", "A face (<half>)", "A face (end)"]
    assert ["onload" in p for p in pictures] == [False, False, True]  # when all are there
    for picture, expected in zip(pictures, frames, strict=True):
        source = picture["src"].removeprefix("data:image/png;base64,")
        decoded = np.asarray(Image.open(BytesIO(base64.b64decode(source)))) / 255
        np.testing.assert_allclose(decoded, expected[0].clip(0, 1), atol=0.5 / 255 + 1e-6)
    assert "Fading &amp; gone." in html
    assert not any("id" in attrs for _, attrs in page.tags)
    assert not re.search(r"https?:|//|@import|url\(", re.sub(r'src="data:[^"]*"', "", html))
    column = Image.open(BytesIO(base64.b64decode(shown._repr_mimebundle_()["image/png"])))
    assert column.size == (31, 3 * 24 + 2 * 8)
    assert repr(shown) == "3 pictures, start, <half>, end: Fading & gone."


def test_film_refuses_what_is_none(photo):
    with pytest.raises(ValueError, match="alt and caption"):
        film([photo, photo], ["a", "b"], alt="x", caption=" ")
    with pytest.raises(ValueError, match="at least two images of one size"):
        film([photo], ["a"], alt="x", caption="y")
    with pytest.raises(ValueError, match=r"2 of \[\(12, 31\), \(24, 31\)\]"):
        film([photo, photo[:, ::2]], ["a", "b"], alt="x", caption="y")
    with pytest.raises(ValueError, match="expected 2 strings"):
        film([photo, photo], ["a"], alt="x", caption="y")
