"""Pictures of every kind come in upright and go out unchanged."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.data.picture_files import read_picture, write_picture
from course_lib.project import CourseError

RANDOM = np.random.default_rng(0)


def deep_png(path, pixels):
    """A PNG file of 16 bits a number, which Pillow writes for grey pictures only."""
    height, width, channels = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_eight_bits_there_and_back(tmp_path, channels, alpha):
    numbers = torch.from_numpy(RANDOM.integers(0, 256, (channels + alpha, 5, 7)) / 255).float()
    image, opacity = numbers[:channels], numbers[channels:] if alpha else None
    write_picture(tmp_path / "a.png", image, alpha=opacity)
    found = read_picture(tmp_path / "a.png")
    assert torch.equal(found.image, image)
    assert (found.alpha is None) if not alpha else torch.equal(found.alpha, opacity)
    assert found.bits == 8
    assert not found.cut
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]  # no draft is left


def test_sixteen_bits_of_grey_there_and_back(tmp_path):
    pixels = RANDOM.integers(0, 65536, (5, 7, 1))
    deep_png(tmp_path / "deep.png", pixels)
    found = read_picture(tmp_path / "deep.png")
    assert (found.bits, found.cut) == (16, False)
    write_picture(tmp_path / "again.png", found.image, bits=16)
    with Image.open(tmp_path / "again.png") as file:
        assert np.array_equal(np.array(file), pixels[..., 0])


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bits_of_colour_are_cut_and_said_to_be(tmp_path, channels):
    deep_png(tmp_path / "deep.png", RANDOM.integers(0, 65536, (5, 7, channels)))
    found = read_picture(tmp_path / "deep.png")
    assert (found.bits, found.cut) == (8, True)


def test_cameras_are_held_sideways(tmp_path):
    """EXIF orientation 6: the top of the scene is the right side of the file."""
    pixels = np.zeros((8, 16), dtype=np.uint8)
    pixels[:, 8:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    image = read_picture(tmp_path / "a.jpg").image
    assert image.shape == (1, 16, 8)
    # A rotation by 90 degrees to the right puts the right half of the file at the bottom.
    assert image[:, 8:].min() > 0.9
    assert image[:, :8].max() < 0.1


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "YCbCr"])
def test_other_modes(tmp_path, mode):
    colour = Image.fromarray(np.full((4, 6, 3), (255, 0, 0), dtype=np.uint8))
    path = tmp_path / ("a.png" if mode in ("1", "P") else "a.jpg")
    colour.convert(mode).save(path)
    image = read_picture(path).image
    assert image.shape == ((1 if mode == "1" else 3), 4, 6)
    if mode != "1":
        assert image[0].min() > 0.95  # JPEG is not exact


def test_a_palette_with_transparency(tmp_path):
    picture = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode=None).convert("P")
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.save(tmp_path / "a.png", transparency=0)
    found = read_picture(tmp_path / "a.png")
    assert torch.equal(found.alpha, torch.tensor([[[0.0, 1.0]]]))
    assert torch.equal(found.image[:, 0, 1], torch.tensor([0.0, 0.0, 1.0]))


def test_three_equal_colours_are_grey(tmp_path):
    grey = RANDOM.integers(0, 256, (4, 6, 1), dtype=np.uint8)
    Image.fromarray(grey.repeat(3, 2)).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").image.shape == (1, 4, 6)


def test_what_is_outside_the_range_is_clipped(tmp_path):
    write_picture(tmp_path / "a.png", torch.tensor([[[-0.2, 1.3]]]))
    assert read_picture(tmp_path / "a.png").image.flatten().tolist() == [0, 1]


def test_files_that_are_no_pictures(tmp_path):
    with pytest.raises(CourseError, match=r"There is no file .*nothing.png"):
        read_picture(tmp_path / "nothing.png")
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(CourseError, match=r"text.png is not a picture that can be read"):
        read_picture(tmp_path / "text.png")
    write_picture(tmp_path / "whole.png", torch.rand(1, 64, 64))
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:1000])
    with pytest.raises(CourseError, match=r"half.png is not a picture that can be read"):
        read_picture(tmp_path / "half.png")
    Image.fromarray(np.zeros((4, 4), dtype=np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(CourseError, match=r"float.tiff has 32 bits a pixel"):
        read_picture(tmp_path / "float.tiff")
