"""Real photographs, offline and always the same."""

import socket

import pytest
import torch

from course_lib.data import PHOTOS, TEST_PHOTOS, load_crops, load_photo, load_photos


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Any attempt to reach a network is an error."""

    def refuse(*_, **__):
        raise AssertionError("a photograph was looked for on the network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("name", PHOTOS)
def test_every_photograph_is_there(name):
    for colour, channels in ((False, 1), (True, 3)):
        photo = load_photo(name, 64, colour=colour)
        assert photo.shape == (1, channels, 64, 64)
        assert photo.dtype == torch.float32
        assert photo.min() >= 0
        assert photo.max() <= 1
        assert photo.std() > 0.02  # a picture, not a blank
        assert torch.equal(photo, load_photo(name, 64, colour=colour))


@pytest.mark.parametrize("size", [1, 33, (48, 80), (100, 31), 700])
def test_any_size(size):
    photo = load_photo("astronaut", size, colour=True)
    assert photo.shape[-2:] == ((size, size) if isinstance(size, int) else size)
    assert photo.min() >= 0
    assert photo.max() <= 1 + 1e-6  # rounding of the resizing weights


def test_full_size_is_the_stored_picture():
    data = pytest.importorskip("skimage.data")
    expected = torch.from_numpy(data.camera().copy()).float() / 255
    # Only the luma weights, whose sum is 1, touch a grey picture.
    assert torch.allclose(load_photo("camera", 512)[0, 0], expected, rtol=0, atol=1e-6)
    colour = torch.from_numpy(data.astronaut().copy()).movedim(-1, 0).float() / 255
    assert torch.equal(load_photo("astronaut", 512, colour=True)[0], colour)


def test_grey_is_the_luma_of_colour():
    colour = load_photo("coffee", 64, colour=True)
    luma = (colour * torch.tensor([0.2125, 0.7154, 0.0721])[:, None, None]).sum(1, True)
    assert torch.allclose(load_photo("coffee", 64), luma, rtol=0, atol=1e-5)


def test_shape_is_not_distorted():
    """The centred part of the wanted proportions: a square of `rocket` (427 x 640) has 427 rows."""
    data = pytest.importorskip("skimage.data")
    stored = torch.from_numpy(data.rocket().copy()).movedim(-1, 0).float() / 255
    assert stored.shape[-2:] == (427, 640)
    square = load_photo("rocket", 427, colour=True)[0]
    assert torch.equal(square, stored[:, :, 106 : 106 + 427])


def test_resizing_is_antialiased():
    """Fine gravel shrunk eight times has its grain averaged, not sampled."""
    small, large = load_photo("gravel", 64), load_photo("gravel", 512)
    blocks = torch.nn.functional.avg_pool2d(large, 8)
    sampled = large[..., ::8, ::8]
    assert (small - blocks).std() < 0.3 * (small - sampled).std()


def test_a_batch_remembers_its_names():
    photos = load_photos(("camera", "coins"), 32)
    assert photos.names == ("camera", "coins")
    assert photos.images.shape == (2, 1, 32, 32)
    assert torch.equal(photos.images[1:], load_photo("coins", 32))
    assert load_photos(size=16).names == TEST_PHOTOS


def test_the_test_list_is_fixed():
    assert len(TEST_PHOTOS) == len(set(TEST_PHOTOS)) == 12
    assert set(TEST_PHOTOS) <= set(PHOTOS)
    assert "clock" not in TEST_PHOTOS  # blurred by motion already


def test_callers_cannot_damage_the_cache():
    first = load_photo("camera", 512)
    kept = first.clone()
    first.zero_()
    assert torch.equal(load_photo("camera", 512), kept)
    colour = load_photo("camera", 512, colour=True)
    colour.zero_()
    assert torch.equal(load_photo("camera", 512), kept)


def test_crops_are_reproducible_and_do_not_depend_on_their_number():
    few, many = load_crops(5, 32, seed=3), load_crops(15, 32, seed=3)
    assert few.images.shape == (5, 1, 32, 32)
    assert torch.equal(many.images[:5], few.images)
    assert many.names[:5] == few.names == TEST_PHOTOS[:5]
    assert many.names[12:] == TEST_PHOTOS[:3]  # round after round
    assert not torch.equal(load_crops(5, 32, seed=4).images, few.images)
    assert not torch.equal(many.images[0], many.images[12])  # another place of the same photograph


def test_crops_are_cut_from_the_photograph():
    crop = load_crops(1, 48, names=("moon",), colour=True)
    assert crop.images.shape == (1, 3, 48, 48)
    photo = load_photo("moon", 256, colour=True)[0]
    windows = photo[0].unfold(0, 48, 1).unfold(1, 48, 1)
    assert (windows == crop.images[0, 0]).all(-1).all(-1).any()
    assert torch.equal(load_crops(1, 256, names=("moon",)).images, load_photo("moon", 256))


def test_bad_input():
    with pytest.raises(ValueError, match=r"Unknown photograph 'lena'\. There are: camera, astr"):
        load_photo("lena")
    for size in (0, -3, (4, 0)):
        with pytest.raises(ValueError, match="size must be positive"):
            load_photo("camera", size)
    for size in (0, 257):
        with pytest.raises(ValueError, match=f"cut from 256 x 256 images, got size {size}"):
            load_crops(1, size)
