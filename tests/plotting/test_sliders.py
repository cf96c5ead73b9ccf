"""Pictures under a slider: described, self-contained, with a fallback."""

import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.plotting import (
    Slider,
    compare,
    film,
)


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
